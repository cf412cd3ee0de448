"""Roster files: accepted, imported chunk by chunk, cancelled, undone; and the inboxes where they arrive."""
