"""Reading the ledger and the people in it, for the web process and the shell; nothing here changes a row."""
