"""No typed text becomes active in a mail, and names and addresses stay readable."""

import re
import sys
from typing import Any

import pytest

from models.mails import FROZEN
from models.words import LOCALES, EmailKind
from tests.kit.pages.mails import Page
from workers.cli.samples.mails import SAMPLES
from workers.mail.renderer import RenderedMail, render
from workers.mail.values import (
    BREAK,
    inert,
    inert_file_name,
    inert_name,
    inert_reference,
    shortened,
    shown_address,
    visible,
)

REPORT = dict(SAMPLES["enrollment_report"][1])
RESET = dict(SAMPLES["password_reset"][1])
FULLEST = {EmailKind.ENROLLMENT_REPORT: REPORT, EmailKind.PASSWORD_RESET: RESET}
FULLEST |= {EmailKind(name): dict(SAMPLES[name][1]) for name in ("release_warning", "release_report")}
FULLEST[EmailKind.REMINDER] = dict(SAMPLES["reminder-last"][1])
FULLEST |= {kind: dict(SAMPLES[kind][1]) for kind in (EmailKind.ATTACHMENT, EmailKind.DETACHMENT)}
FULLEST |= {kind: dict(SAMPLES[kind][1]) for kind in FROZEN}
FULLEST[EmailKind.DUPLICATE] = dict(SAMPLES["duplicate-zip"][1])
FULLEST[EmailKind.IMPORT_REPORT] = dict(SAMPLES["import_report-workbook"][1])

HOSTILE = [
    "Gagnez http://evil.fr",
    "evil.com",
    "www.evil.com/prix?x=1",
    "evil。com",
    "javascript:alert(1)",
    "mailto:a@evil.com",
    "<script>alert(1)</script>",
    "<a href='http://evil.fr'>ici</a>",
    "</td></tr></table>",
    "{{ 7 * 7 }}{% raw %}",
    "%(company)s %s %",
    "jinja0x <!--jinja1x-->",
    "\u202emoc.live\u202c\u200b\x00\x07",
    "a\r\nBcc: evil@x.fr",
    "=?utf-8?q?x=0D=0ABcc:_evil=40x.fr?=",
    "\ud800",
    "é" * 500,
]


@pytest.mark.parametrize("kind", EmailKind)
def test_hostile_names_are_inert(subtests: pytest.Subtests, kind: EmailKind) -> None:
    for locale in LOCALES:
        plain = render(kind, locale, FULLEST.get(kind, SAMPLES[kind][1]))
        for hostile in HOSTILE:
            with subtests.test(locale=locale, hostile=hostile):
                assert_inert(render(kind, locale, named(kind, hostile)), plain, hostile)


def named(kind: EmailKind, hostile: str) -> dict[str, Any]:
    """Returns the values of a mail of this kind, with this string for everything that people typed."""
    context = dict(FULLEST.get(kind, SAMPLES[kind][1]))
    for name in ("first_name", "company_name", "training_title", "contract_reference", "file_name", "sheet",
                 "new_address", "old_address",
                 "new_first_name", "new_last_name", "old_first_name", "old_last_name"):  # fmt: skip
        if name in context:
            context[name] = hostile
    if kind is EmailKind.RELEASE_REPORT:
        named = {"first_name": hostile, "last_name": hostile, "email": hostile}
        context["people"] = [named | {"refused": person["refused"]} for person in context["people"]]
    if kind is EmailKind.ENROLLMENT_REPORT:
        context["people"] = [
            {
                "position": 1,
                "first_name": hostile,
                "last_name": hostile,
                "email": hostile,
                "code": "invalid_email",
                "detail": {"names_differ": True},
            }
        ] * 5
    return context


def assert_inert(mail: RenderedMail, plain: RenderedMail, hostile: str) -> None:
    """Checks that nothing in a mail can be followed or run, and that its structure is that of a plain mail."""
    everything = mail.subject + mail.text + mail.html
    assert not re.search(
        r"evil[.\u3002](?!\u200c)\S|http://|\S@x\.|javascript:\S|=\?|[\u202e\u200b\x00\x07]", everything
    )
    assert "<script" not in mail.html
    assert "<a href='" not in mail.html
    assert len(mail.subject.splitlines()) == 1
    assert [line for line in mail.text.splitlines() if line.startswith("Bcc")] == []
    unseen = {"br"} if not inert_name(hostile) else set()  # an emptied name has no line
    assert [tag for tag in structure(mail) if tag not in unseen] == [
        tag for tag in structure(plain) if tag not in unseen
    ]
    mail.text.encode("utf-8")
    assert "é" * 61 not in everything


def structure(mail: RenderedMail) -> list[str]:
    return [tag for tag, _ in Page(mail.html).tags]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("Jean-Pierre d’Été", "Jean-Pierre d’Été"),
        ("  Anne\u00a0\tMarie ", "Anne Marie"),
        ("Dupont & Fils S.A.R.L.", "Dupont & Fils S.A.R.L."),
        ("Atelier 9:30 (v1.2)", "Atelier 9:30 (v1.2)"),
        ("Booking.com", f"Booking.{BREAK}com"),
        ("M@gasin", f"M@{BREAK}gasin"),
        ("Formation du 12/03 au 13/03", "Formation du 12/03 au 13/03"),
        ("Excel : les bases", "Excel : les bases"),
        ("a" * 61, "a" * 59 + "…"),
        ("محمد", "محمد"),
        ("", ""),
    ],
)
def test_names_stay_readable(typed: str, shown: str) -> None:
    assert inert_name(typed) == shown


def test_a_name_of_letters_is_shown_as_it_is() -> None:
    for letter in filter(str.isalnum, map(chr, range(sys.maxunicode + 1))):
        name = f"a{letter}b"
        if inert_name(name) == name:
            assert inert(shortened(visible(name), 60)) == name, ascii(name)
    for name in ("L’Été d’Anne-Marie", "x" * 60, "Ж" * 60):
        assert inert_name(name) == name
    for changed in ("x" * 61, "two  spaces", " a", "a ", "a\n", "a\u0301\u200bb", "=?a?="):
        assert inert_name(changed) != changed


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("export RH mars 2026.csv", "export RH mars 2026.csv"),
        ("Liste.v2.XLSX", "Liste.v2.XLSX"),
        ("0612345678.ods", "0612345678.ods"),
        ("evil.com.csv", f"evil.{BREAK}com.csv"),
        ("evil.zip", f"evil.{BREAK}zip"),  # .zip is a top-level domain
        ("www.evil.csv", f"www{BREAK}.{BREAK}evil.csv"),
        ("x.csv.evil.com", f"x.{BREAK}csv.{BREAK}evil.{BREAK}com"),
    ],
)
def test_an_ordinary_name_of_a_file_is_copied_as_it_is(typed: str, shown: str) -> None:
    assert inert_file_name(typed) == shown


def test_a_reference_keeps_its_digits_together() -> None:
    assert inert_reference("CTR-2026-0012345") == "CTR-2026-0012345"
    assert inert_reference("evil.com") == f"evil.{BREAK}com"


TOP_LEVEL = "(?:com|fr|example|net|xyz|zip|uk)"
DOTS = "[.\u3002\uff0e\uff61]"
CLIENTS = {
    "Gmail": rf"(?:https?://|www\.)\S+|[\w-]+(?:{DOTS}[\w-]+)*{DOTS}{TOP_LEVEL}\b|[\w.+-]+@[\w-]+\.[\w.]+",
    # its letters are all of Unicode, zero-width ones too
    "Android": rf"(?:[^\s.]+\.)+{TOP_LEVEL}(?![a-z0-9])|(?:https?|ftp|rtsp)://\S+|[\w+.-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+",
    "Outlook": r"(?:https?|ftp|file|mailto|tel):\S+|www\.\S+|\\\\\S+",
    "Apple Mail": rf"[a-z0-9-]+\.{TOP_LEVEL}\b|(?:\+?\d[ .()/-]{{0,2}}){{7,}}|\w+:/{{1,2}}\S+",
}
"""The texts that clients turn into links, telephone numbers included, as far as sources and behaviour are known."""

LINKS = [
    "Booking.com", "jean.xyz", "Gagnez http://evil.fr", "HTTPS:evil.fr", "http:/evil.com", "http:\\\\evil.com",
    "//evil.fr", "www.evil.fr", "ftp.evil.fr", "evil.co.uk:8080/x?y=1", "evil。com", "evil．com", "é.com", "evil_.com",
    "a@evil.com", "mailto:a@evil.com", "tel:0612345678", "0612345678", "+33 6 12 34 56 78", "06.12.34.56.78",
    "\\\\evil\\share", "192.0.2.1", "http://192.0.2.1/", "evil\u200b.com", "evil.\u202ecom", "evil.\ncom",
]  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_no_client_makes_a_link_of_a_name(subtests: pytest.Subtests, client: str) -> None:
    pattern = re.compile(CLIENTS[client], re.IGNORECASE)
    for typed in LINKS:
        with subtests.test(typed=typed):
            assert not pattern.search(inert_name(typed)), ascii(inert_name(typed))


def test_a_name_shows_no_space_that_was_not_typed() -> None:
    """The mark that ends a link is drawn as nothing; it is no space and allows no line to break."""
    for typed in ("Booking.com", "M@gasin", "Jean.Dupont", "www.exemple.fr", "06 12 34 56 78"):
        assert inert_name(typed).replace(BREAK, "") == typed
        assert not BREAK.isspace()


def test_addresses_are_shown_as_typed_when_they_are_addresses() -> None:
    assert shown_address("Anne.O'Brien+x@client.example") == "Anne.O'Brien+x@client.example"
    assert shown_address("karim@menuiserie") == "karim@menuiserie"  # shown as typed, to be corrected
    assert shown_address("evil.com/x@client.example") == f"evil.{BREAK}com/x@{BREAK}client.{BREAK}example"
    assert shown_address("gagnez http://evil.fr a@b.fr") == f"gagnez http{BREAK}: evil.{BREAK}fr a@{BREAK}b.{BREAK}fr"
