"""Every fault of a row is told at once; a duplicate names the earlier row; a slip in a mail domain is asked about."""

import csv
import io
from typing import Any
from uuid import UUID

import pytest

from models.words import Code, EmailKind, Policy
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.contracts import accepted, add_contract, asking, enrol, query, someone
from tests.kit.builders.letters import claim, letters
from workers.actors import rosters
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.ledger import JOBS
from workers.enrollment import jobs
from workers.imports import importing
from workers.imports.acceptance import accept_file, digest_of
from workers.imports.reports import errors_file
from workers.mail.preparing import whole_context
from workers.mail.renderer import RenderedMail, render
from workers.requests.enrollment import PersonToEnroll
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue
from workers.rosters.people import check_rows
from workers.rosters.reader import read_roster

FILE = """Nom de famille;Prénom;Mail;Matricule
Dû;Zoé;zoe@example.com;1
#N/A;;zoe@b;1,2E+14
Roy;Max;max@gmial.com;2
;Zoé bis;ZOE@example.com;3
Dû;Zoé;zoe@example.com;4
"""
FAULTS_OF_LINE_3 = [
    {"code": "invalid_email", "field": "email"},
    {"code": "missing_name", "field": "first_name"},
    {"code": "missing_name", "field": "last_name"},
    {"code": "unsafe_value", "field": "external_id"},
]
FAULTS_OF_LINE_5 = [
    {"code": "missing_name", "field": "last_name"},
    {"code": "duplicate_in_file", "field": "email"},
]
EXPECTED = [
    ("enrolled", {"line": 2}),
    ("invalid_email", {"line": 3, "faults": FAULTS_OF_LINE_3}),
    ("enrolled", {"line": 4, "did_you_mean": "gmail.com"}),
    ("missing_name", {"line": 5, "faults": FAULTS_OF_LINE_5, "earlier_line": 2}),
    ("duplicate_in_file", {"line": 6, "earlier_line": 2}),
]


def imported(data: bytes, **options: Any) -> UUID:
    file = io.BytesIO(data)
    given = {"contract": "C-1", "report_to": "chef@example.com", "file_name": "équipe.csv"} | options
    request = ImportRoster(file=digest_of(file), **given)
    with transaction() as session:
        from models.portal import LOCAL_PORTAL_ID  # noqa: PLC0415

        job_id = accept_file(session, LOCAL_PORTAL_ID, file, request, key="key").job_id
    rosters.do_batch(claimed(Queue.ROSTERS))
    return job_id


def plain(text: str) -> str:
    """Returns a text without the spaces and signs that French and mails put in."""
    return text.replace("\xa0", " ").replace("\u202f", " ").replace("\u2060", "")


def results(session: Session, job_id: UUID) -> list[tuple[str, Any]]:
    found = query(session, "SELECT code, detail FROM job_person WHERE job_id = :job ORDER BY position", job=job_id)
    return [(code, detail) for code, detail in found]


def import_mail() -> RenderedMail:
    with transaction() as session:
        [one] = [one for one in letters(session) if one.kind is EmailKind.IMPORT_REPORT]
    with whole_context(one) as context:
        return render(one.kind, "fr", context)


@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize("chunk", [1, 2, 1_000])
def test_an_import_tells_every_fault_and_the_earlier_line(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK", chunk)
    with transaction() as session:
        add_contract(session)
    job_id = imported(FILE.encode())
    with transaction() as session:
        assert results(session, job_id) == EXPECTED
        assert query(session, "SELECT count(*) FROM roster_address") == [(0,)]


@pytest.mark.usefixtures("fresh_database")
def test_the_file_of_errors_and_the_mail_tell_them_with_their_columns() -> None:
    with transaction() as session:
        add_contract(session)
    job_id = imported(FILE.encode("cp1252"))
    with transaction() as session:
        text = "".join(errors_file(session, job_id, "fr"))
    sent = import_mail()
    [file] = sent.attachments
    assert file.content.decode() == text
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"))
    assert rows[0][4:] == ["ligne", "code", "motif"]
    assert [row[4:6] for row in rows[1:]] == [
        ["3", "invalid_email, missing_name, missing_name, unsafe_value"],
        ["5", "missing_name, duplicate_in_file"],
        ["6", "duplicate_in_file"],
    ]
    assert plain(rows[1][6]).startswith("Mail – L’adresse e-mail n’est pas valable : corrigez-la. Prénom – ")
    assert "Matricule – Une valeur est abîmée" in rows[1][6]
    assert rows[2][6].startswith("Nom de famille – Le nom ou le prénom manque")
    assert "(voir la ligne 2)" in rows[2][6]
    assert plain(rows[3][6]).endswith("gardez une seule ligne (voir la ligne 2)")
    for said in ("Adresses à vérifier : 1", "Ligne 4 – Vouliez-vous écrire gmail.com dans l’adresse ?",
                 "Premiers noms accentués lus : Dû, Zoé"):  # fmt: skip
        assert said in plain(sent.text)
    assert "gmial" not in sent.text


def test_a_request_tells_every_fault_and_the_earlier_person(session: Session) -> None:
    add_contract(session)
    people = [
        someone("zoe@example.com"),
        PersonToEnroll(email="zoe@b", first_name="Lef\ufffdbure", last_name="", locale="de"),
        someone("max@ornage.fr"),
        someone("zoe@example.com", "Zoé bis"),
        PersonToEnroll(email="zoe@example.com", first_name="", last_name="LefÃ©bure"),
    ]
    [answer] = enrol(session, asking(*people, policy=Policy.UNTIL_FULL))
    assert [(one.code, one.field, one.detail) for one in answer.people] == [
        (Code.ENROLLED, None, None),
        (
            Code.INVALID_EMAIL,
            "email",
            {
                "faults": [
                    {"code": "invalid_email", "field": "email"},
                    {"code": "missing_name", "field": "last_name"},
                    {"code": "unsafe_value", "field": "first_name"},
                    {"code": "invalid_locale", "field": "locale"},
                ]
            },
        ),
        (Code.ENROLLED, None, {"did_you_mean": "orange.fr"}),
        (Code.DUPLICATE_IN_FILE, "email", {"earlier_position": 0}),
        (
            Code.MISSING_NAME,
            "first_name",
            {
                "faults": [
                    {"code": "missing_name", "field": "first_name"},
                    {"code": "unsafe_value", "field": "last_name"},
                    {"code": "duplicate_in_file", "field": "email"},
                ],
                "earlier_position": 0,
            },
        ),
    ]


def test_one_fault_is_told_by_its_code_alone(session: Session) -> None:
    add_contract(session)
    [answer] = enrol(session, asking(someone("zoe@b"), someone("zoe@example.com"), policy=Policy.UNTIL_FULL))
    assert [(one.code, one.detail) for one in answer.people] == [(Code.INVALID_EMAIL, None), (Code.ENROLLED, None)]


def test_the_confirmation_of_a_request_says_all_of_it(session: Session) -> None:
    add_contract(session)
    people = [someone("zoe@b", ""), someone("max@hotmial.fr"), someone("a@example.com"), someone("A@example.com")]
    job_id = accepted(session, asking(*people, policy=Policy.UNTIL_FULL, report_to="chef@example.com"))
    ledger.finish(session, JOBS, do_jobs(session, claim(session, JOBS, Queue.ENROLLMENTS, Queue.ROSTERS)))
    [one] = [one for one in letters(session) if one.kind is EmailKind.ENROLLMENT_REPORT]
    for locale, lines in {
        "fr": ("Adresse e-mail – L’adresse e-mail n’est pas valable", "Prénom – Le nom ou le prénom manque",
               "Vouliez-vous écrire hotmail.fr dans l’adresse ?", "(voir la personne n° 3)"),
        "en": ("Email address – ", "First name – ", "Did you mean hotmail.fr in the address?", "(see person no. 3)"),
    }.items():  # fmt: skip
        text = render(one.kind, locale, one.context).text
        for line in lines:
            assert line in plain(text)
    assert results(session, job_id)[1] == ("enrolled", {"did_you_mean": "hotmail.fr"})


@pytest.mark.usefixtures("fresh_database")
def test_a_large_request_in_chunks_names_people_of_earlier_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 1)
    with transaction() as session:
        add_contract(session)
        people = [someone("a@example.com"), someone("b@example.com"), someone("A@example.com")]
        job_id = accepted(session, asking(*people, policy=Policy.UNTIL_FULL))
    from workers.actors import enrollments  # noqa: PLC0415

    enrollments.do_batch(claimed(Queue.ENROLLMENTS))
    with transaction() as session:
        assert results(session, job_id)[2] == ("duplicate_in_file", {"earlier_position": 0})


def test_a_check_of_a_file_answers_the_same() -> None:
    checked = list(check_rows(read_roster(FILE.encode()).rows))
    assert [{"line": one.row.line, **one.detail} for one in checked] == [detail for _, detail in EXPECTED]
