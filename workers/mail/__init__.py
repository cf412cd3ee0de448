"""Mails: written from facts, rendered, and sent over SMTP."""
