"""Corrections of the address of an account, which no person may use to take an account over."""
