"""One process writes documents to a file, another reads and renders them."""

import pickle
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from models.document import Document, PrintedCertificate


class Sheet(NamedTuple):
    """One document, as the renderer receives it."""

    printed: PrintedCertificate
    document: Document
    locale: str
    timestamp: datetime


def keep(file: Path, sheets: list[Sheet], logos: Mapping[str, bytes]) -> None:
    """Writes documents and their pictures."""
    file.write_bytes(pickle.dumps((sheets, dict(logos))))


def kept(file: Path) -> tuple[list[Sheet], dict[str, bytes]]:
    """Reads the documents and their pictures."""
    found: tuple[list[Sheet], dict[str, bytes]] = pickle.loads(file.read_bytes())
    return found
