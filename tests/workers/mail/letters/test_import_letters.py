"""The summary mail of an import: owed once at its end, with its text and the rows attached to it."""

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import EmailKind, EmailState
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.contracts import add_contract
from tests.kit.processes.support import change, rows
from workers.actors import rosters
from workers.database import transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.imports import importing as roster_imports
from workers.imports import reports as roster_reports
from workers.imports import running as imports
from workers.imports.acceptance import accept_file, digest_of
from workers.mail import attachments, preparing
from workers.mail.letters import import_report as import_letters
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.preparing import whole_context
from workers.mail.renderer import RenderedMail, render
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue
from workers.rosters import kept_rows
from workers.rosters.reader import read_roster

CHIEF = "chef@example.com"
SAMPLES = Path(__file__).parents[2] / "rosters" / "samples"
LINES = 'Nom;Prénom;E-mail;Note\nDû;Zoé;a@b.fr;x\n"=SOMME(A1)";Ève;b@b;"un; deux"\nDû;Max;c@b.fr;\n'


@pytest.fixture(autouse=True)
def one_seat(fresh_database: str) -> Iterator[None]:
    """Creates a contract of one seat."""
    with transaction() as session:
        add_contract(session, "C-1", 1)
    yield
    for job_id in list(imports._sources):
        imports._close(job_id)


def imported(data: bytes, key: str = "key", *, name: str = "équipe.csv", **options: Any) -> UUID:
    file = io.BytesIO(data)
    given = {"contract": "C-1", "report_to": CHIEF} | options
    request = ImportRoster(file=digest_of(file), file_name=name, **given)
    with transaction() as session:
        job_id = accept_file(session, LOCAL_PORTAL_ID, file, request, key=key).job_id
    rosters.do_batch(claimed(Queue.ROSTERS))
    return job_id


def letter() -> Letter:
    with transaction() as session:
        found = ledger.claim(session, EMAILS, Queue.EMAILS_BULK, size=50, lease=30, worker=new_id())
        [one] = [one for one in write_letters(session, found) if one.row.columns.kind == EmailKind.IMPORT_REPORT]
    return one


def mail(locale: str = "fr") -> RenderedMail:
    one = letter()
    assert one.unsent is None
    return rendered(one, locale)


def rendered(one: Letter, locale: str = "fr") -> RenderedMail:
    with whole_context(one) as context:
        return render(one.kind, locale, context)


def owed() -> list[tuple[object, ...]]:
    return rows("SELECT to_address, locale, state FROM email WHERE kind = 'import_report'")


def test_the_summary_lists_rows_read_done_and_to_correct() -> None:
    imported(LINES.encode("cp1252"), report_locale="fr")
    assert owed() == [(CHIEF, "fr", "owed")]
    sent = mail()
    assert sent.subject == "Résultat de l’import d’un fichier pour la formation « Sécurité »"
    for said in ("Votre fichier a été importé", "équipe.csv", "Lu en Windows-1252, séparateur\u00a0: point-virgule",
                 "Inscriptions prévues\u00a0: 1", "Places restantes\u00a0: 0", "1 – Il ne reste plus de place",
                 "Lignes à corriger\u00a0: 2"):  # fmt: skip
        assert said in sent.text
    [file] = sent.attachments
    assert (file.filename, file.content_type) == ("lignes-a-corriger.csv", "text/csv")
    written = file.content.decode("utf-8-sig").splitlines()
    assert written[0] == "Nom;Prénom;E-mail;Note;ligne;code;motif"
    assert [line.split(";")[:2] for line in written[1:]] == [["'=SOMME(A1)", "Ève"], ["Dû", "Max"]]
    again = read_roster(file.content)
    assert [(row.last_name, row.email, row.cells[3]) for row in again.rows] == [
        ("=SOMME(A1)", "b@b", "un; deux"),
        ("Dû", "c@b.fr", ""),
    ]


def test_in_english_with_its_own_names() -> None:
    imported(LINES.encode(), report_locale="en")
    sent = mail("en")
    assert sent.subject == "Result of the import of a file for the training “Sécurité”"
    [file] = sent.attachments
    assert file.filename == "rows-to-correct.csv"
    assert file.content.decode("utf-8-sig").splitlines()[0].endswith("line;code;reason")


def test_a_file_that_cannot_be_read_is_told_too() -> None:
    imported(b"%PDF-1.7")
    sent = mail()
    assert "Ce format de fichier n’est pas accepté" in sent.text
    assert "Lu en" not in sent.text
    assert sent.attachments == ()


def test_an_unknown_contract() -> None:
    imported(LINES.encode(), contract="C-404")
    sent = mail()
    assert sent.subject == "Import d’un fichier refusé : le contrat n’est pas connu"
    assert "C-404" in sent.text


@pytest.mark.parametrize("options", [{"report_to": None}, {"dry_run": True}])
def test_no_summary_without_a_request_for_one(options: dict[str, Any]) -> None:
    imported(LINES.encode(), **options)
    assert owed() == []


def test_it_is_owed_once_with_the_end_of_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(roster_imports, "count_codes", fail)
        imported(LINES.encode())
    assert owed() == []
    for _ in range(2):
        rosters.do_batch(claimed(Queue.ROSTERS))
    assert owed() == [(CHIEF, "fr", "owed")]


def test_without_the_file_the_summary_stands_alone() -> None:
    imported(LINES.encode())
    with transaction() as session:
        session.execute(text("DELETE FROM roster_file"))
    sent = mail()
    assert sent.attachments == ()
    assert "demandez le fichier des lignes refusées" in sent.text


def test_without_the_request_there_is_nothing_to_say() -> None:
    imported(LINES.encode())
    with transaction() as session:
        session.execute(text("UPDATE job SET request = NULL"))
    assert letter().unsent is EmailState.CANCELLED


def test_many_rows_are_zipped_and_what_is_too_much_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ("Nom;Prénom;E-mail\n" + "".join(f"Dû{n};Zoé{'x' * 100};b{n}@b\n" for n in range(8_000))).encode()
    imported(data)
    one = letter()
    [file] = rendered(one).attachments
    assert file.filename == "lignes-a-corriger.zip"
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        assert archive.read("lignes-a-corriger.csv").count(b"\r\n") == 8_001
    for module, bound, value in (
        (attachments, "LARGEST_FILE", 10_000),
        (attachments, "LARGEST_TEXT", 1_000_000),
        (import_letters, "MOST_FAILED", 7_999),
        (roster_reports, "LARGEST", {"text": 100_000}),
        (kept_rows, "SECONDS", 0.0),
    ):
        with monkeypatch.context() as small:
            small.setattr(module, bound, value)
            with transaction() as session:
                [again] = write_letters(session, [one.row])
            sent = rendered(again)
        assert sent.attachments == ()
        assert "demandez le fichier des lignes refusées" in sent.text


def test_rows_that_hardly_shrink_are_left_out() -> None:
    """Twenty million characters may exceed the size of a mail, even zipped."""
    noise = random.Random(1)
    rows = (f"Dû;Zoé;b{n}@b;{noise.randbytes(2_000).hex()}\n" for n in range(3_000))
    imported(("Nom;Prénom;E-mail;Note\n" + "".join(rows)).encode())
    assert mail().attachments == ()


def test_nothing_of_the_file_is_read_while_facts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow workbook would outlive the lease, in a transaction that locks the mail."""

    def look(*_: object) -> None:
        raise AssertionError("the file was opened inside the transaction")

    imported((SAMPLES / "s13-calc.xlsx").read_bytes(), name="équipe.xlsx")
    refused = rows("SELECT code FROM job_person WHERE code <> 'enrolled' ORDER BY position")
    with monkeypatch.context() as watched:
        for module in (roster_reports, preparing):
            watched.setattr(module, "open_file", look)
        one = letter()
    for _ in range(2):  # at each attempt
        [file] = rendered(one).attachments
        assert len(read_roster(file.content).rows) == len(refused) > 0


@pytest.mark.parametrize(
    "lost", ["DELETE FROM roster_file", "DELETE FROM roster_part", "UPDATE roster_part SET content = 'x'"]
)
def test_a_file_that_goes_meanwhile_is_left_out(lost: str) -> None:
    imported(LINES.encode())
    one = letter()
    change(lost)
    sent = rendered(one)
    assert sent.attachments == ()
    assert "demandez le fichier des lignes refusées" in sent.text


@pytest.mark.parametrize(
    ("ends_on", "contract", "said"),
    [("2020-01-01", "C-1", "3 – Le contrat est terminé"), (None, "C-404", "3 – Ce contrat n’est pas connu")],
)
def test_where_the_contract_refuses_all_the_same_file_is_imported_again(
    ends_on: str | None, contract: str, said: str
) -> None:
    with transaction() as session:
        session.execute(text("UPDATE contract SET starts_on = :on, ends_on = :on"), {"on": ends_on})
    imported(LINES.replace("b@b", "b@b.fr").encode(), contract=contract)
    sent = mail()
    assert sent.attachments == ()
    assert said in sent.text
    assert "importez le même fichier à nouveau" in sent.text
    assert "importez le même fichier à nouveau" in sent.html
    assert "Lignes à corriger" not in sent.text


@pytest.mark.parametrize(
    "name", ["<script>evil.com</script>.csv", "\u202efdp.exe\u202c.csv", "a=?utf-8?q?b?=.csv", "x" * 200]
)
def test_a_hostile_name_of_a_file_is_inert(name: str) -> None:
    imported(LINES.encode(), name="plain.csv")
    with transaction() as session:
        session.execute(text("UPDATE roster SET file_name = :name"), {"name": name})
    sent = mail()
    assert "<script" not in sent.html
    assert "evil.com" not in sent.text + sent.html
    assert "\u202e" not in sent.text + sent.html
    assert "x" * 61 not in sent.text
