"""The engine for owed work of all kinds: it is recorded in the ledger, claimed under a lease, done or tried again."""
