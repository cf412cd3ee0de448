"""Documents as bytes: rendered, sealed and kept, without a database."""
