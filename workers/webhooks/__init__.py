"""Webhooks: events that a transaction owed are sent to the endpoints of portals, signed, and tried for a day."""
