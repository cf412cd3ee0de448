"""The HTTP API of portals, under ``/v1``: what they may ask for and read, thin over the requests and the ledger."""
