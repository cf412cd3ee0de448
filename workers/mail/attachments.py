"""Makes the files that mails carry: documents from the store, and tables of people as CSV, zipped when large."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from models.person import printed_name
from workers.i18n.catalogues import translate
from workers.i18n.results import every_code, explain_result
from workers.rosters.errors_file import FailedRow, column_names, write_errors
from workers.rosters.refused import RosterRefused
from workers.rosters.spreadsheet import excel_csv, safe_cell

LARGEST_PLAIN_FILE: Final = 1_000_000
"""The most bytes of an attached file that is not zipped. Relays accept about ten million for a whole mail, in base64
(Postfix: 10,240,000); 200,000 people are 27 million bytes of CSV, and under four million when zipped."""

LARGEST_FILE: Final = 5_000_000
"""The most bytes of an attached file of rows, zipped: half of what relays accept."""

LARGEST_TEXT: Final = 30_000_000
"""The most bytes of that file before it is zipped, in memory: rows of people shrink to a fifth at least."""

ZIP: Final = "application/zip"


@dataclass(frozen=True, slots=True)
class MailAttachment:
    """A file that a mail carries; ``filename`` is ASCII and ours, never typed by a person."""

    filename: str
    content_type: str
    content: bytes


def document_file(context: Mapping[str, Any]) -> MailAttachment:
    """Attaches a document, or a zip of them, as it is in the store."""
    content_type = ZIP if context["kind"] == "zip" else "application/pdf"
    return MailAttachment(context["file_name"], content_type, context["content"])


PEOPLE_COLUMNS: Final = ("N°", "Prénom", "Nom", "Adresse e-mail", "Code", "Résultat")


def people_file(people: Sequence[Mapping[str, Any]], locale: str) -> MailAttachment:
    """Makes the table of all people of a request, for Excel; zipped when it is large."""
    columns = [translate(locale, column) for column in PEOPLE_COLUMNS]
    content = excel_csv([columns, *(_person(person, locale) for person in people)])
    return _zipped_if_large(MailAttachment(translate(locale, "inscriptions.csv"), "text/csv", content))


def _person(person: Mapping[str, Any], locale: str) -> list[object]:
    names = (safe_cell(printed_name(person[name] or "")) for name in ("first_name", "last_name"))
    address, code, detail = safe_cell(person["email"] or ""), person["code"], person.get("detail")
    return [person["position"], *names, address, every_code(code, detail), explain_result(code, detail, locale)]


def _zipped_if_large(file: MailAttachment) -> MailAttachment:
    """Returns the file, or a zip of it with the same bytes each time: each attempt sends the same mail."""
    if len(file.content) <= LARGEST_PLAIN_FILE:
        return file
    entry = zipfile.ZipInfo(file.filename)  # dated 1980, so that the bytes do not depend on the day
    entry.compress_type = zipfile.ZIP_DEFLATED
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compresslevel=9) as archive:
        archive.writestr(entry, file.content)
    return MailAttachment(file.filename.removesuffix(".csv") + ".zip", ZIP, packed.getvalue())


def errors_file(locale: str, context: Mapping[str, Any]) -> MailAttachment | None:
    """Makes the file of refused rows, to be corrected and dropped again.

    None when the rows are too many for a mail or take too long to read: the mail is useful without them.
    """
    columns = column_names(context["header"])
    failed = (
        FailedRow(line, cells, every_code(code, detail), explain_result(code, detail, locale, columns))
        for line, cells, code, detail in context["failed"]
    )
    lines = write_errors(context["header"], failed, delimiter=context["delimiter"] or ";", locale=locale)
    content = io.BytesIO()
    try:
        for written in lines:
            content.write(written.encode("utf-8", "replace"))
            if content.tell() > LARGEST_TEXT:
                return None
    except (RosterRefused, OSError):
        return None
    name = translate(locale, "lignes-a-corriger.csv")
    file = _zipped_if_large(MailAttachment(name, "text/csv", content.getvalue()))
    return file if len(file.content) <= LARGEST_FILE else None
