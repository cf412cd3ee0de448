"""A wrong element in the list of a request is answered at its place, and the others are done."""

import json
from typing import Any

import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, did, enrolled, query, results, seats
from workers.database import Session
from workers.engine.acceptance import accept
from workers.people.erasure import erase_person
from workers.reading.jobs import show_job
from workers.requests.accounts import ErasePerson
from workers.requests.registry import parse

WRONG: list[Any] = [7, None, "x", {}, [1], 1.5]


def done(session: Session, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Does a request from the bytes that a portal sent."""
    text = json.dumps(body)
    job = accept(session, LOCAL_PORTAL_ID, parse(kind, text), text, key=str(new_id()))
    did(session)
    return show_job(session, job.job_id) or {}


def person(name: str, **more: Any) -> dict[str, Any]:
    return {"email": f"{name}@example.com", "first_name": "Zoé", "last_name": "Dû"} | more


@pytest.mark.parametrize("policy", ["until_full", "valid_rows"])
def test_people_around_a_wrong_row_are_enrolled(session: Session, policy: str) -> None:
    add_contract(session)
    rows = [person("a"), *WRONG, person("b", first_name=7), person("c", mail="x"), person("d")]
    job = done(session, "enroll", {"contract": "C-1", "policy": policy, "people": rows})
    assert results(job) == ["enrolled", *["invalid_request"] * 8, "enrolled"]
    assert [one["field"] for one in job["result"]["people"][4:9]] == ["email", "people", "people", "first_name", "mail"]
    assert seats(session) == 2


def test_every_wrong_field_of_a_row_is_told(session: Session) -> None:
    add_contract(session)
    row = {"email": 5, "first_name": None, "last_name": "", "locale": 7}
    [told] = done(session, "enroll", {"contract": "C-1", "people": [row]})["result"]["people"]
    assert (told["code"], told["field"]) == ("invalid_request", "email")
    assert [(one["code"], one["field"]) for one in told["detail"]["faults"]] == [
        ("invalid_request", "email"),
        ("invalid_request", "first_name"),
        ("invalid_request", "locale"),
        ("missing_name", "last_name"),
    ]


def test_every_wrong_field_of_an_event_is_told(session: Session) -> None:
    event = {"enrollment_id": "x", "progress": "done", "occurred_at": "2026-03-14"}
    [told] = done(session, "record_progress", {"events": [event]})["result"]["people"]
    assert (told["code"], told["field"]) == ("invalid_request", "enrollment_id")
    assert [one["field"] for one in told["detail"]["faults"]] == ["enrollment_id", "progress", "occurred_at"]


@pytest.mark.parametrize("name", ["\0", "\ud800", "jean.dupont@example.com", "x" * 5_000, "a\u202eb", "", "Zoé Dû"])
def test_the_name_of_an_unknown_field_is_not_kept_when_it_may_harm(session: Session, name: str) -> None:
    add_contract(session)
    rows = [person("a"), person("b", **{name: 1}), person("c")]
    job = done(session, "enroll", {"contract": "C-1", "policy": "until_full", "people": rows})
    assert results(job) == ["enrolled", "invalid_request", "enrolled"]
    assert job["result"]["people"][1]["field"] == "people"


def test_a_wrong_row_leaves_the_whole_request_undone_where_asked(session: Session) -> None:
    add_contract(session)
    job = done(session, "enroll", {"contract": "C-1", "people": [person("a"), 7]})
    assert (job["state"], results(job)) == ("refused", ["not_carried_out", "invalid_request"])
    assert seats(session) == 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [("withdraw", "withdrawn"), ("reset_passwords", "activation_sent_instead"), ("resend_invitations", "sent")],
)
def test_wrong_identifiers_are_not_found_and_the_others_done(session: Session, kind: str, code: str) -> None:
    add_contract(session)
    a, b = enrolled(session, "a", "b")
    job = done(session, kind, {"contract": "C-1", "enrollment_ids": [str(a), *WRONG, str(b)]})
    assert results(job) == [code, *["not_found"] * len(WRONG), code]


def test_an_erasure_reaches_a_row_that_is_a_bare_address(session: Session) -> None:
    add_contract(session)
    rows = [person("a"), "a@example.com", person("b")]
    done(session, "enroll", {"contract": "C-1", "policy": "until_full", "people": rows})
    erase_person(session, LOCAL_PORTAL_ID, new_id(), ErasePerson(email="a@example.com", reason="demande"))
    [(kept,)] = query(session, "SELECT CAST(request AS text) FROM job WHERE kind = 'enroll'")
    assert "a@example.com" not in kept
    assert "b@example.com" in kept
