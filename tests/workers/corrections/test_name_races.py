"""Corrections of names at the same moment as enrollments and answers; done twice, and failed half-way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.words import Code
from tests.kit.actors.committed_jobs import claimed, done_twice, fail_half_way
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import accepted, asking, codes, enrol, someone
from tests.kit.builders.corrections import OLD, account_id, code_of, committed_participant, do, participant
from tests.kit.builders.name_corrections import (
    NEW_NAME,
    OLD_NAME,
    confirm,
    correct_name,
    name_by_ops,
    name_corrections,
    name_token,
    named,
)
from tests.kit.processes.support import rows
from tests.kit.races.racers import second_waits_for_first
from workers.corrections import names as name_jobs
from workers.corrections.name_answers import confirm_name, refuse_name
from workers.database import Session, transaction
from workers.requests.accounts import CorrectName

OLD_FULL, NEW_FULL = " ".join(OLD_NAME), " ".join(NEW_NAME)


def correcting(enrollment_id: Any) -> Callable[[Session], Any]:
    asked = CorrectName(enrollment_id=enrollment_id, first_name=NEW_NAME[0], last_name=NEW_NAME[1])
    return lambda session: code_of(do(session, asked))


def attaching(session: Session) -> Any:
    return codes(enrol(session, asking(someone(OLD), contract="C-2"))[0])


def test_a_company_that_attaches_first_makes_the_person_confirm(threads: ThreadPoolExecutor) -> None:
    mine = committed_participant(activated=False)
    assert second_waits_for_first(threads, attaching, correcting(mine)) == (["attached"], "name_confirmation_sent")
    with transaction() as session:
        assert named(session) == OLD_FULL


def test_a_company_that_attaches_second_finds_the_corrected_name(threads: ThreadPoolExecutor) -> None:
    mine = committed_participant(activated=False)
    assert second_waits_for_first(threads, correcting(mine), attaching) == ("name_corrected", ["attached"])
    with transaction() as session:
        assert named(session) == NEW_FULL


@pytest.mark.parametrize("confirmed_first", [True, False])
def test_of_two_answers_at_one_moment_the_first_counts(threads: ThreadPoolExecutor, confirmed_first: bool) -> None:
    with transaction() as session:
        correct_name(session, participant(session))
        link = name_token(session)

    def say(answer: Callable[..., Any]) -> Callable[[Session], Any]:
        return lambda session: answer(session, keys(), link)

    first, second = (confirm_name, refuse_name) if confirmed_first else (refuse_name, confirm_name)
    heard, late = second_waits_for_first(threads, say(first), say(second))
    assert not isinstance(heard, Code)
    assert late is Code.USED_LINK
    with transaction() as session:
        assert named(session) == (NEW_FULL if confirmed_first else OLD_FULL)
        assert len(name_corrections(session)) == 1


@pytest.mark.parametrize("ops_first", [True, False])
def test_operators_and_the_person_at_one_moment(threads: ThreadPoolExecutor, ops_first: bool) -> None:
    with transaction() as session:
        correct_name(session, participant(session), "Zoé", "Durand")
        account, link = account_id(session), name_token(session)

    def ops(session: Session) -> str:
        return name_by_ops(session, account)

    def person(session: Session) -> str:
        return confirm(session, link)

    if ops_first:
        assert second_waits_for_first(threads, ops, person) == ("name_corrected", "invalid_link")
    else:
        assert second_waits_for_first(threads, person, ops) == ("confirmed", "name_corrected")
    with transaction() as session:
        assert named(session) == NEW_FULL  # operators ask after all others, or the link works no more


@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize("activated", [True, False])
def test_done_twice_a_name_is_corrected_once(activated: bool) -> None:
    with transaction() as session:
        enrollment_id = participant(session, activated=activated)
        accepted(session, CorrectName(enrollment_id=enrollment_id, last_name="Durand"))
    done = done_twice(claimed())
    assert len(done["name_correction"]) == 1
    assert rows("SELECT last_name FROM account") == [("Le Dû" if activated else "Durand",)]


@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize(
    ("activated", "step"), [(True, "ask_person"), (True, "insert_name_correction"), (False, "insert_name_correction"),
                            (False, "record"), (True, "count")],
)  # fmt: skip
def test_a_job_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, activated: bool, step: str) -> None:
    with transaction() as session:
        enrollment_id = participant(session, activated=activated)
        accepted(session, CorrectName(enrollment_id=enrollment_id, last_name="Durand"))
    fail_half_way(monkeypatch, name_jobs, step)
    assert rows("SELECT last_name FROM account") == [("Le Dû",)]
