"""Owed work, whatever it is about: recorded in the ledger, claimed under a lease, done, tried again, ended."""
