"""Makes the model that a manager downloads and fills in, as CSV or as a workbook. It imports, filled in or not."""

import csv
import io
from typing import Final

import xlsxwriter

from models.words import LOCALES
from workers.rosters.spreadsheet import MARK

HEADERS: Final = {
    "fr": ("Nom", "Prénom", "E-mail", "Langue", "Matricule"),
    "en": ("Last name", "First name", "Email", "Locale", "ID"),
}
"""The columns by language; the last two may be left empty or removed."""

EXAMPLES: Final = (
    ("Le Goff", "Anaïs", "anais.legoff@entreprise.example", "fr", "00412"),
    ("N’Guyen", "Stéphane", "stephane.nguyen@entreprise.example", "", ""),
)
"""Two rows to be replaced. A manager who leaves them in writes to no one: RFC 2606 reserves `.example` for this."""

FILLED: Final = 10_000
"""The number of rows of the sheet that are ready to be filled in."""

_SHEET: Final = {"fr": "Participants", "en": "Participants"}
_WIDTHS: Final = (24, 20, 36, 10, 14)
_HELP: Final = {
    "fr": ("fr ou en ; laissez vide pour le français.", "Il manque un @ : vérifiez l’adresse."),
    "en": ("fr or en; leave empty for French.", "An @ is missing: check the address."),
}


def csv_model(locale: str = LOCALES[0], delimiter: str = ",") -> bytes:
    """Returns the model as CSV: UTF-8 with its mark, and no `sep=` line, which would make Excel ignore the mark."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows([HEADERS[locale], *EXAMPLES])
    return (MARK + file.getvalue()).encode()


def xlsx_model(locale: str = LOCALES[0]) -> bytes:
    """Returns the model as a workbook: the header stays visible, and every cell is text so that zeros are kept."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet(_SHEET[locale])
        as_text = book.add_format({"num_format": "@"})
        bold = book.add_format({"bold": True, "num_format": "@", "bottom": 1, "bg_color": "#E8EEF6"})
        for column, (name, width) in enumerate(zip(HEADERS[locale], _WIDTHS, strict=True)):
            sheet.set_column(column, column, width, as_text)
            sheet.write_string(0, column, name, bold)
        for row, example in enumerate(EXAMPLES, start=1):
            for column, value in enumerate(example):
                sheet.write_string(row, column, value, as_text)
        sheet.freeze_panes(1, 0)
        language, address = _HELP[locale]
        sheet.data_validation(
            1, 3, FILLED, 3,
            {"validate": "list", "source": list(LOCALES), "ignore_blank": True, "error_message": language},
        )  # fmt: skip
        sheet.data_validation(
            1, 2, FILLED, 2,
            {"validate": "custom", "value": '=ISNUMBER(FIND("@",C2))', "error_type": "warning",
             "error_message": address},
        )  # fmt: skip
    return file.getvalue()
