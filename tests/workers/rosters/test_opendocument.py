"""OpenDocument sheets written by hand: the text of a cell, other content, and repeats too large to hold."""

import io
import zipfile

import pytest

from models.words import Code
from workers.rosters.reader import ReadRoster, read_roster
from workers.rosters.refused import RosterRefused

NAMESPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{urn}:1.0"'
    for name, urn in [("office", "office"), ("table", "table"), ("text", "text"), ("style", "style"),
                      ("draw", "drawing")]
)  # fmt: skip
HIDDEN = (
    """<style:style style:name="h" style:family="table"><style:table-properties table:display="false"/></style:style>"""
)


def ods(tables: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        made.writestr("META-INF/manifest.xml", "<manifest/>")
        made.writestr(
            "content.xml",
            f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {NAMESPACES}>'
            f"<office:automatic-styles>{HIDDEN}</office:automatic-styles><office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
            "</office:document-content>",
        )
    return file.getvalue()


def cell(inside: str, attributes: str = "") -> str:
    return f'<table:table-cell office:value-type="string" {attributes}>{inside}</table:table-cell>'


def row(*cells: str, attributes: str = "") -> str:
    made = "".join(one if one.startswith("<") else cell(f"<text:p>{one}</text:p>") for one in cells)
    return f"<table:table-row {attributes}>{made}</table:table-row>"


def table(*rows: str, attributes: str = 'table:name="Liste"') -> str:
    return f"<table:table {attributes}>{''.join(rows)}</table:table>"


HEADER = row("Nom", "Prénom", "E-mail")
ROW = row("Dû", "Zoé", "zoe@example.com")


def read(*rows: str) -> ReadRoster:
    return read_roster(ods(table(*rows)))


def answered(*rows: str) -> str:
    """Returns the only address, or the code."""
    try:
        (found,) = read(*rows).rows
    except RosterRefused as refused:
        return refused.code
    return found.email


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ('<text:p>Le<text:s text:c="2"/>Dû</text:p>', "Le  Dû"),
        ("<text:p>Le<text:tab/>Dû</text:p>", "Le Dû"),
        ('<text:p>Le<text:tab text:tab-ref="1"></text:tab>Dû</text:p>', "Le Dû"),
        ("<text:p>Le<text:line-break/>Dû</text:p>", "Le Dû"),
        ("<text:p>Le</text:p><text:p>Dû</text:p>", "Le\nDû"),
        ("<text:p><text:span>L</text:span>e <text:a>Dû</text:a></text:p>", "Le Dû"),
        ("<text:p><text:ruby><text:ruby-base>Dû</text:ruby-base><text:ruby-text>dy</text:ruby-text></text:ruby></text:p>",
         "Dû"),
        ("<text:p>Dû</text:p><draw:g><draw:g><text:p>!</text:p><draw:line/></draw:g><text:p>?</text:p></draw:g>", "Dû"),
        ("<office:annotation><text:p>note</text:p></office:annotation><text:p>Dû</text:p>", "Dû"),
    ],
)  # fmt: skip
def test_the_text_of_a_cell(inside: str, text: str) -> None:
    assert read(HEADER, row(cell(inside), "Zoé", "z@b.fr")).rows[0].last_name == text


def test_a_hidden_sheet_is_skipped_an_empty_one_is_not() -> None:
    shown, hidden = table(HEADER, ROW, attributes='table:name="2"'), 'table:name="1" table:style-name="h"'
    assert read_roster(ods(table(HEADER, attributes=hidden) + shown)).reading.sheet == "2"
    with pytest.raises(RosterRefused) as caught:
        read_roster(ods(table(row("<table:table-cell/>")) + shown))
    assert caught.value.code is Code.EMPTY_FILE


def test_the_empty_rest_of_a_sheet_costs_nothing() -> None:
    blank = '<table:table-cell table:number-columns-repeated="16384"/>'
    roster = read(HEADER, ROW, row(blank, attributes='table:number-rows-repeated="1048574"'))
    assert [one.line for one in roster.rows] == [2]


@pytest.mark.parametrize("count", ["1000000000", "4294967295", "18446744073709551616", "-1"])
def test_repeats_too_large_to_hold_end_soon(count: str) -> None:
    far = cell("<text:p>x</text:p>", f'table:number-columns-repeated="{count}"')
    answer = answered(HEADER, row("Dû", "Zoé", "z@b.fr", far))
    assert answer in {Code.TOO_LARGE, Code.UNREADABLE_FILE, "z@b.fr"}  # depends on the library
