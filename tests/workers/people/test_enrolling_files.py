"""A person enrolled by a file says "this is not me": the sender of the file is told, with the names in the file."""

from collections.abc import Iterator
from errno import ENOSPC

import pytest

from tests.kit.builders.accounts import keys
from tests.kit.builders.attachments import letters, token_of
from tests.kit.builders.contracts import add_contract, enrol_people, someone
from tests.kit.builders.imports import (
    close_open_files,
    drop,
    rows_of,
    work,
)
from tests.kit.processes.support import change, rows
from workers.database import transaction
from workers.imports import reports as roster_reports
from workers.mail import preparing
from workers.mail.letters.letter import Letter
from workers.mail.preparing import whole_context
from workers.mail.renderer import render
from workers.people.detachment import detach
from workers.rosters import kept_rows


@pytest.fixture(autouse=True)
def attached(fresh_database: str) -> Iterator[None]:
    """Creates an account for Anne, who is in the third row of a file for another contract."""
    with transaction() as session:
        add_contract(session, "C-0")
        add_contract(session, "C-1", company="autre")
        enrol_people(session, someone("anne@example.com", "Anne", "Durand"), contract="C-0")
    change("UPDATE account SET activated_at = now()")
    change("DELETE FROM email")
    data = rows_of("Dû;Zoé;zoe@example.com;", ";;;", "X;;x@;", "Dupond;Annabelle ;ANNE@example.com;", "Dû;Léa;l@x.fr;")
    drop(data, report_to="Chef@example.com", report_locale="en")
    work()
    yield
    close_open_files()


def says_not_me() -> None:
    with transaction() as session:
        [letter] = [one for one in letters(session) if one.kind == "attachment"]
        detach(session, keys(), token_of(letter))


def told() -> Letter:
    with transaction() as session:
        [letter] = [one for one in letters(session) if one.kind == "detachment"]
    assert letter.unsent is None
    assert (letter.context["first_name"], letter.context["last_name"]) == ("", "")  # the file is not read now
    return letter


def named(letter: Letter) -> tuple[str, str]:
    with whole_context(letter) as values:
        mail = render(letter.kind, "en", values)
    assert ("Annabelle" in mail.text) is bool(values["first_name"])
    return values["first_name"].strip(), values["last_name"]


def test_the_sender_of_the_file_is_told_with_the_names_in_it() -> None:
    says_not_me()
    letter = told()
    assert (letter.row.columns.to_address, letter.row.columns.locale) == ("chef@example.com", "en")
    assert named(letter) == ("Annabelle", "Dupond")


@pytest.mark.parametrize(
    "lost",
    [
        "DELETE FROM roster_file",
        "DELETE FROM roster_part",
        "DELETE FROM roster",
        "UPDATE roster SET reading = NULL",
        "DELETE FROM job_person",
        "UPDATE roster_part SET content = 'x'",
    ],
)
def test_without_the_file_they_are_told_without_a_name(lost: str) -> None:
    says_not_me()
    change(lost)
    assert named(told()) == ("", "")


def test_where_the_disk_is_full_they_are_told_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(ENOSPC, "no space left")

    says_not_me()
    monkeypatch.setattr(preparing, "open_file", full)
    assert named(told()) == ("", "")


def test_a_file_that_takes_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_reports, "LARGEST", {"text": 10})
    says_not_me()
    assert named(told()) == ("", "")


def test_a_row_that_takes_long_to_find_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rows, "SECONDS", 0.0)
    says_not_me()
    assert named(told()) == ("", "")


def test_no_mail_is_owed_once_the_request_is_gone() -> None:
    change("UPDATE job SET request = NULL WHERE kind = 'import_roster'")
    says_not_me()
    assert rows("SELECT count(*) FROM email WHERE kind = 'detachment'") == [(0,)]
    assert rows("SELECT count(*) FROM enrollment WHERE detached_at IS NOT NULL") == [(1,)]
