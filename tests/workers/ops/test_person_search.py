"""The jobs of a person are found by the address that was typed, refused ones too, while the request is kept."""

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.retention import RetentionClass, first_id
from models.words import Code
from tests.kit.builders.contracts import add_contract, asking, did, enrol_people, query, someone
from tests.kit.builders.erasure import ANNE, anne, erasing
from workers.database import Session
from workers.engine.acceptance import MessageOwner, SubmittedRequest, accept_all, record_refusal
from workers.errors import InvalidRequest, Problem
from workers.ops.job_search import find_sought, search_jobs
from workers.ops.row_filter import RowFilter
from workers.people.retention import purge
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.registry import parse
from workers.security.lockouts import forget_everywhere

ZOE: Final = "zoe@example.com"
ANY: Final = RowFilter()


def found(session: Session, said: str, wanted: RowFilter = ANY) -> list[UUID]:
    return [job.id for job in search_jobs(session, wanted, person=find_sought(session, said))]


def ask(session: Session, *emails: str, key: str = "k-1", contract: str = "C-1") -> UUID:
    """Records a request to enrol people with these addresses; returns its job."""
    people = [PersonToEnroll(email=one, first_name="Zoé", last_name="Dû") for one in emails]
    request = Enroll(contract=contract, people=people)
    [accepted] = accept_all(session, [SubmittedRequest(LOCAL_PORTAL_ID, request, request.model_dump_json(), key)])
    return accepted.job_id  # type: ignore[union-attr]


def end(session: Session, state: str, *, days: int = 0) -> None:
    ended = "UPDATE job SET state = :state, due_at = NULL, finished_at = now() - make_interval(days => :days)"
    session.execute(text(ended), {"state": state, "days": days})


def tokens(session: Session) -> int:
    return int(query(session, "SELECT count(*) FROM job_address")[0][0])


def test_a_person_who_was_refused_is_found_by_the_address(session: Session) -> None:
    refused = ask(session, ANNE, "bob@example.com", contract="C-404")
    [job] = query(session, "SELECT id FROM job")
    assert found(session, "Anne.LORVAL@example.com ") == found(session, "bob@example.com") == [refused] == [job[0]]
    assert found(session, ZOE) == []
    assert all(ANNE not in str(row) for row in query(session, "SELECT * FROM job_address"))


def test_a_typing_error_is_found_as_it_was_typed(session: Session) -> None:
    job = ask(session, "anne@exemple,fr")
    assert (found(session, "Anne@exemple,fr"), found(session, "anne@exemple.fr")) == ([job], [])


def test_what_waits_died_and_succeeded_is_found_by_state(session: Session) -> None:
    add_contract(session)
    enrol_people(session, someone(ZOE, "Zoé"))
    job = ask(session, ZOE)
    assert found(session, ZOE, RowFilter(state="queued")) == [job]
    end(session, "dead")
    assert found(session, ZOE, RowFilter(state="dead")) == [job]
    assert found(session, ZOE, RowFilter(state="queued")) == []
    account = query(session, "SELECT id FROM account")[0][0]
    assert found(session, str(account)) == [job]


def test_an_identifier_that_no_account_has_finds_nothing(session: Session) -> None:
    ask(session, ZOE)
    assert found(session, str(new_id())) == []


def test_a_request_that_is_repeated_leaves_one_token(session: Session) -> None:
    first = ask(session, ZOE, ZOE)
    assert ask(session, ZOE, ZOE) == first
    assert tokens(session) == 1


def test_a_request_about_more_than_a_thousand_leaves_none(session: Session) -> None:
    ask(session, *(f"{number}@example.com" for number in range(1_001)))
    assert tokens(session) == 0
    ask(session, *(f"{number}@example.com" for number in range(1_000)), key="k-2")
    assert tokens(session) == 1_000


def test_a_row_that_is_no_person_keeps_no_other_from_being_found(session: Session) -> None:
    body = {"contract": "C-1", "people": [7, {"email": 9}, {"email": ZOE, "first_name": "Z", "last_name": "D"}]}
    request = parse("enroll", json.dumps(body))
    accept_all(session, [SubmittedRequest(LOCAL_PORTAL_ID, request, json.dumps(body), "k-1")])
    assert (len(found(session, ZOE)), tokens(session)) == (1, 1)


def test_a_message_that_could_not_be_read_is_found(session: Session) -> None:
    problem = InvalidRequest(Problem(Code.UNREADABLE_MESSAGE, "", "no JSON"))
    message = b'\xff{"email": "' + ZOE.encode() + b'", "other": "zoe@example.com" @ @@ a@b'
    owner = MessageOwner(LOCAL_PORTAL_ID, "k-1")
    job = record_refusal(session, message, problem, content=message, owner=owner, kind="unreadable")
    assert found(session, ZOE) == [job]
    assert record_refusal(session, message, problem, content=message, owner=owner, kind="unreadable") is None
    assert tokens(session) == 1


def test_an_erasure_leaves_no_token_of_the_person_and_those_of_others(session: Session) -> None:
    add_contract(session)
    did(session, asking(anne(), someone(ZOE, "Zoé")))
    ask(session, ANNE, key="k-1", contract="C-404")
    end(session, "refused")
    did(session, erasing())
    assert (found(session, ANNE), len(found(session, ZOE))) == ([], 1)
    assert tokens(session) == 1


def test_a_job_that_finishes_during_an_erasure_leaves_no_token(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_contract(session)
    did(session, asking(anne()))
    job = ask(session, ANNE, contract="C-404")
    session.execute(text("UPDATE job SET due_at = now() + interval '1 hour' WHERE id = :job"), {"job": job})
    ended = "UPDATE job SET state = 'refused', due_at = NULL, finished_at = now()"

    def finish_then_forget(given: Session, subjects: Collection[UUID]) -> None:
        given.execute(text(f"{ended} WHERE id = :job"), {"job": job})
        forget_everywhere(given, subjects)

    monkeypatch.setattr("workers.people.erasure.forget_everywhere", finish_then_forget)
    did(session, erasing())
    kept = query(session, "SELECT request::text FROM job WHERE id = '" + str(job) + "'")
    assert (ANNE in str(kept), tokens(session)) == (False, 0)


def test_an_erasure_of_nobody_leaves_no_token_of_its_own(session: Session) -> None:
    [job] = did(session, erasing(ZOE))
    assert (job["result"]["code"], tokens(session)) == ("not_found", 0)


@pytest.mark.parametrize(
    ("state", "days", "left"), [("refused", 89, 1), ("refused", 91, 0), ("dead", 91, 1), ("dead", 366, 0)]
)
def test_a_token_goes_with_the_request(session: Session, state: str, days: int, left: int) -> None:
    job = ask(session, ZOE)
    old = first_id(datetime.now(UTC) - timedelta(days=days))
    for statement in (
        "UPDATE job SET id = :old WHERE id = :job",
        "UPDATE job_address SET job_id = :old WHERE job_id = :job",
    ):
        session.execute(text(statement), {"old": old, "job": job})
    end(session, state, days=days)
    purged = purge(session)
    assert (tokens(session), purged[RetentionClass.TYPED_ADDRESS]) == (left, 1 - left)
    assert query(session, "SELECT request IS NOT NULL FROM job") == [(bool(left),)]
