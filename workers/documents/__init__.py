"""Documents as bytes: rendered, sealed, kept. Nothing here knows the database."""
