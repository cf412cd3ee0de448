"""A file that gives one person's address to another: the lines to check are named, in the report and by mail."""

from typing import Any
from uuid import UUID

import pytest

from models.words import Code, EmailKind, hints_of
from tests.kit.builders.certificates import job
from tests.kit.builders.contracts import add_contract, enrol_people, someone
from tests.kit.builders.imports import HEADER, drop, work
from tests.kit.builders.letters import letters
from tests.kit.processes.support import rows
from tests.workers.imports.test_undoing import undo
from workers.database import transaction
from workers.i18n.catalogues import code_sentence
from workers.imports.reports import report_rows
from workers.mail.renderer import render

PEOPLE = ["jeanne@example.com", "karim@example.com", "zoe@example.com", "anne@example.com", "luc@example.com"]
FILE = (HEADER + "".join(f"Haddad{place};Karim;{email};Paie\r\n" for place, email in enumerate(PEOPLE))).encode()


@pytest.fixture(autouse=True)
def known_people(small_chunks: None) -> None:
    """Two people of the file have accounts under other names; the last row is in a second chunk."""
    with transaction() as session:
        add_contract(session, "C-2", company="autre")
        add_contract(session, "C-1")
        enrol_people(session, someone("jeanne@example.com", "Jeanne"), contract="C-2", notify=False)
        enrol_people(session, someone("luc@example.com", "Luc", "Petit"), contract="C-1", notify=False)


def hints(job_id: UUID) -> list[tuple[int, str | None, list[Code]]]:
    with transaction() as session:
        rows = [(one.row.line, one.code, hints_of(one.detail)) for one in report_rows(session, job_id)]
    return [row for row in rows if row[2]]


def mail(locale: str) -> str:
    with transaction() as session:
        [letter] = [one for one in letters(session) if one.kind is EmailKind.IMPORT_REPORT]
        return render(letter.kind, locale, letter.context).text


def test_the_report_names_each_line_to_check() -> None:
    job_id = drop(FILE).job_id
    work()
    assert hints(job_id) == [(2, "attached", [Code.NAMES_DIFFER]), (6, "already_enrolled", [Code.NAMES_DIFFER])]
    assert job(job_id)["result"]["hints"] == {"names_differ": 2}
    assert job(job_id)["result"]["counts"] == {"attached": 1, "enrolled": 3, "already_enrolled": 1}


def test_the_mail_says_what_to_check_and_on_which_lines() -> None:
    drop(FILE, report_to="rh@example.com")
    work()
    said = mail("fr")
    assert code_sentence(Code.NAMES_DIFFER, "fr") in said
    assert "Lignes à vérifier\u00a0: 2, 6\n" in said
    assert "Jeanne" not in said


def test_a_dry_run_of_a_file_names_no_line() -> None:
    job_id = drop(FILE, dry_run=True).job_id
    work()
    assert hints(job_id) == []
    assert "hints" not in job(job_id)["result"]


def test_an_undone_import_has_nothing_left_to_check() -> None:
    job_id = drop(FILE).job_id
    work()
    undone = undo(job_id)
    work()
    details: list[Any] = [detail for (detail,) in rows("SELECT detail FROM job_person WHERE job_id = :id", id=undone)]
    assert sorted(detail["line"] for detail in details) == [2, 3, 4, 5]
    assert not any("names_differ" in detail for detail in details)
