"""Guards the console: sign-in, sessions, roles, and forms that only its own pages can send."""
