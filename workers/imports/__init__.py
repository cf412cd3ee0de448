"""Roster files: recorded, imported chunk by chunk, cancelled, undone, and inboxes where they arrive."""
