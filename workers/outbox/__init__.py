"""Mails that are owed, and the suppression list of addresses that are sent none."""
