"""How a person gets into their account: passwords, resets, invitations sent again, sign-ins."""
