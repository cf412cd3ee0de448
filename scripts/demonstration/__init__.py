"""The work of scripts/demo: the main job once, from requests to delivered mails, and a check of its results."""
