"""The outbox of owed mails, and the suppression list of addresses that get no mail."""
