"""The facts each mail states, read when it is about to be sent."""
