"""Corrections of the address of an account, which nobody may use to take an account over."""
