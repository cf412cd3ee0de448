"""Masks personal values where a page or a table would show them."""

from models.trouble import ADDRESS
from workers.console.shown import DOTS


def masked_text(value: object) -> object:
    """Returns a value that may be a person's address with its first letter only; every other value as it is."""
    return value[:1] + DOTS if isinstance(value, str) and ("@" in value or "\uff20" in value) else value


def hide_addresses(text: str) -> str:
    """Returns a text of an error or of a relay without the addresses in it."""
    return ADDRESS.sub(lambda found: found[0][:1] + DOTS, text)


__all__ = ["hide_addresses", "masked_text"]
