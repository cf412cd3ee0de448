"""The attached file of a long report: all people in it, readable by Excel, in a mail that relays accept."""

import csv
import io
import random
import unicodedata
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from models.words import EmailKind
from workers.cli.samples.mails import SAMPLES
from workers.mail.attachments import LARGEST_PLAIN_FILE
from workers.mail.message import SenderIdentity, build
from workers.mail.renderer import PEOPLE_IN_BODY, RenderedMail, render
from workers.requests.enrollment import MAX_PEOPLE
from workers.rosters.spreadsheet import safe_cell

REPORT = dict(SAMPLES["enrollment_report"][1])
IDENTITY = SenderIdentity("a@b.fr", "", "a@b.fr", "b.fr")
DAY = datetime(2026, 3, 14, 8, 30, tzinfo=UTC)
LARGEST_MAIL = 5_000_000

SYLLABLES = [
    "ma",
    "le",
    "du",
    "ran",
    "mar",
    "ti",
    "net",
    "ber",
    "nard",
    "bou",
    "cher",
    "lef",
    "èv",
    "re",
    "gau",
    "thi",
    "er",
    "ker",
    "brat",
    "fon",
    "taï",
    "ne",
    "che",
    "val",
    "moë",
]
FIRST_NAMES = [
    "Anne-Sophie",
    "Jean-Pierre",
    "Zoé",
    "Stéphane",
    "Émilie",
    "Noël",
    "Karim",
    "Fatima",
    "Hélène",
    "Loïc",
    "Maëlle",
    "Aurélien",
    "Inès",
]
DOMAINS = ("groupe-kerbrat.example", "clinique-des-lilas.example", "ville-de-rennes.example")
CODES = ("enrolled", "enrolled", "enrolled", "attached", "already_enrolled", "no_seat_left", "invalid_email")


def crowd(size: int) -> list[dict[str, Any]]:
    return [
        {"position": n, "first_name": "Zoé", "last_name": f"N{n}", "email": f"z{n}@client.example", "code": "enrolled"}
        for n in range(1, size + 1)
    ]


def test_a_report_shows_up_to_a_hundred_people_without_a_file() -> None:
    mail = render(EmailKind.ENROLLMENT_REPORT, "fr", REPORT | {"people": crowd(PEOPLE_IN_BODY)})
    assert mail.attachments == ()
    assert "N100 " in mail.text
    assert "fichier joint" not in mail.text


def test_a_longer_report_lists_all_people_in_a_file_for_excel() -> None:
    people = crowd(150)
    people[149] |= {"first_name": "=HYPERLINK(1)", "last_name": "Le;Goff\n", "email": "@SUM(A1)"}
    mail = render(EmailKind.ENROLLMENT_REPORT, "fr", REPORT | {"people": people})
    assert "N100 " in mail.text
    assert "N101 " not in mail.text + mail.html
    assert "Seules les 100 premières personnes sur 150" in mail.text
    (file,) = mail.attachments
    assert (file.filename, file.content_type) == ("inscriptions.csv", "text/csv")
    assert file.content.startswith("\ufeffN°;".encode())
    assert b"\r\n" in file.content
    assert ".zip" not in mail.text + mail.html
    rows = list(csv.reader(file.content.decode("utf-8-sig").splitlines(keepends=True), delimiter=";"))
    assert rows[0] == ["N°", "Prénom", "Nom", "Adresse e-mail", "Code", "Résultat"]
    assert len(rows) == 151
    assert rows[150] == [
        "150", "'=HYPERLINK(1)", "Le;Goff\n", "'@SUM(A1)", "enrolled", "Inscription faite, nouveau compte créé",
    ]  # fmt: skip


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"])
def test_no_cell_runs_as_a_formula(start: str) -> None:
    assert safe_cell(f"{start}1+1") == f"'{start}1+1"
    assert safe_cell("Anne") == "Anne"


def workforce(size: int) -> Iterator[dict[str, Any]]:
    """Yields people of large companies: 20,000 surnames, some of them common, and addresses made from their names."""
    chance = random.Random(7)
    surnames = ["".join(chance.choices(SYLLABLES, k=chance.choice((2, 3, 3, 4)))).title() for _ in range(20_000)]
    common = [1 / (rank + 10) for rank in range(len(surnames))]
    last_names = chance.choices(surnames, common, k=size)
    for position, last_name in enumerate(last_names, start=1):
        first_name = chance.choice(FIRST_NAMES)
        spelt = unicodedata.normalize("NFKD", f"{first_name}.{last_name}").encode("ascii", "ignore").decode().lower()
        yield {
            "position": position,
            "first_name": first_name,
            "last_name": last_name,
            "email": f"{spelt}{chance.randrange(100)}@{chance.choice(DOMAINS)}",
            "code": chance.choice(CODES),
        }


def sent(mail: RenderedMail) -> bytes:
    return build(mail, to_address="chef@example.com", message_id="<x@b.fr>", date=DAY, identity=IDENTITY)


@pytest.mark.parametrize(("locale", "name"), [("fr", "inscriptions"), ("en", "enrollments")])
def test_the_largest_report_is_a_mail_that_relays_take(locale: str, name: str) -> None:
    people = list(workforce(MAX_PEOPLE))
    mail = render(EmailKind.ENROLLMENT_REPORT, locale, REPORT | {"people": people})
    (file,) = mail.attachments
    assert (file.filename, file.content_type) == (f"{name}.zip", "application/zip")
    assert len(sent(mail)) < LARGEST_MAIL
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        assert archive.namelist() == [f"{name}.csv"]
        rows = list(csv.reader(io.TextIOWrapper(archive.open(f"{name}.csv"), "utf-8-sig", newline=""), delimiter=";"))
    assert len(rows) == 1 + MAX_PEOPLE
    last = people[-1]
    assert rows[-1][:5] == [str(MAX_PEOPLE), last["first_name"], last["last_name"], last["email"], last["code"]]
    assert {"fr": "100 premières personnes sur 200\u202f000", "en": "100 people out of 200,000"}[locale] in mail.text
    assert ".zip" in mail.text
    assert ".zip" in mail.html


def test_a_zipped_file_is_the_same_at_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    people = list(workforce(10_000))
    mails = []
    for year in (2026, 2031):
        monkeypatch.setattr("time.time", lambda year=year: datetime(year, 1, 1, tzinfo=UTC).timestamp())
        mails.append(sent(render(EmailKind.ENROLLMENT_REPORT, "fr", REPORT | {"people": people})))
    assert b"application/zip" in mails[0]
    assert mails[0] == mails[1]


def test_a_file_of_up_to_a_million_bytes_is_not_zipped() -> None:
    mail = render(EmailKind.ENROLLMENT_REPORT, "fr", REPORT | {"people": list(workforce(7_000))})
    (file,) = mail.attachments
    assert (file.content_type, len(file.content) <= LARGEST_PLAIN_FILE) == ("text/csv", True)
