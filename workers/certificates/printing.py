"""Finds what the fonts cannot print on a certificate, before it is issued or copied: it is not made out to boxes."""

from collections.abc import Iterator
from typing import NamedTuple

from models.document import CertificateSnapshot
from models.words import Code


class UnprintableText(NamedTuple):
    """The code that refuses a certificate, and the field of its contents that cannot be printed."""

    code: Code
    field: str


def find_unprintable(snapshot: CertificateSnapshot) -> UnprintableText | None:
    """Returns the first text of a certificate that the fonts cannot print, the person's name before all others."""
    from workers.documents.printable import is_printable, printable  # noqa: PLC0415 - fonts, for few processes

    if not printable(f"{snapshot.first_name} {snapshot.last_name}"):
        return UnprintableText(Code.NAME_NOT_PRINTABLE, "first_name")
    for field, value in _names(snapshot):
        if not is_printable(value):
            return UnprintableText(Code.NAME_NOT_PRINTABLE, field)
    wrong = next((field for field, value in _texts(snapshot) if not is_printable(value)), None)
    return None if wrong is None else UnprintableText(Code.VALUE_NOT_PRINTABLE, wrong)


def _names(snapshot: CertificateSnapshot) -> Iterator[tuple[str, str]]:
    yield "first_name", snapshot.first_name
    yield "last_name", snapshot.last_name


def _texts(snapshot: CertificateSnapshot) -> Iterator[tuple[str, str]]:
    yield "employer", snapshot.employer
    yield "title", snapshot.title
    yield from (("objectives", objective) for objective in snapshot.objectives)
    issuer = snapshot.issuer
    for name in ("legal_name", "activity_region", "signatory_name", "signatory_quality", "place"):
        yield name, getattr(issuer, name) or ""
    yield from (("address", line) for line in issuer.address)
