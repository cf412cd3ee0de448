"""Reads a PDF as a person does."""

from tests.kit.browser.mailbox import plain
from tests.kit.system import run


def text_of(content: bytes) -> str:
    """Returns the text of a PDF, on one line."""
    return " ".join(plain(run("pdftotext", "-layout", "-", "-", given=content)).split())
