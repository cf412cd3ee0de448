"""Real PostgreSQL, Valkey and a mailbox from Python wheels, for laptops, tests and CI, without root or containers."""
