"""What scripts/demo does: the main job once, from requests to delivered mails, and what the file says must come out."""
