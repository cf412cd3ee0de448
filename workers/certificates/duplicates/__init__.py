"""Duplicates of certificates: registered, rendered, put together in a file, fetched by their link."""
