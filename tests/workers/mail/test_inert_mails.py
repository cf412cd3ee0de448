"""No typed text becomes active in a mail, and names and addresses stay readable."""

import re
from typing import Any

import pytest

from models.mails import FROZEN
from models.words import LOCALES, EmailKind
from tests.kit.pages.mails import Page
from workers.cli.samples.mails import SAMPLES
from workers.mail.renderer import RenderedMail, render
from workers.mail.values import inert_name, shown_address

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
                "hints": ["names_differ"],
            }
        ] * 5
    return context


def assert_inert(mail: RenderedMail, plain: RenderedMail, hostile: str) -> None:
    """Checks that nothing in a mail can be followed or run, and that its structure is that of a plain mail."""
    everything = mail.subject + mail.text + mail.html
    assert not re.search(r"evil[.\u3002]\S|http://|\S@x\.|javascript:\S|=\?|[\u202e\u200b\x00\x07]", everything)
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
        ("evil.com", "evil. com"),
        ("a" * 61, "a" * 59 + "…"),
        ("محمد", "محمد"),
        ("", ""),
    ],
)
def test_names_stay_readable(typed: str, shown: str) -> None:
    assert inert_name(typed) == shown


def test_addresses_are_shown_as_typed_when_they_are_addresses() -> None:
    assert shown_address("Anne.O'Brien+x@client.example") == "Anne.O'Brien+x@client.example"
    assert shown_address("karim@menuiserie") == "karim@menuiserie"  # shown as typed, to be corrected
    assert shown_address("evil.com/x@client.example") == "evil. com/x @ client. example"
    assert shown_address("gagnez http://evil.fr a@b.fr") == "gagnez http: evil. fr a @ b. fr"
