"""A request is accepted once for its key, and never half."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.messages import CONTRACT, read
from workers.database import Session
from workers.engine.acceptance import accept, find_accepted
from workers.errors import IdempotencyConflict, InvalidRequest
from workers.reading.jobs import show_job
from workers.requests.catalog import PutCompany


def put(session: Session, name: str, key: str) -> object:
    request = PutCompany(reference="acme", name=name)
    return accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=key)


def test_the_same_request_under_the_same_key_is_one_job(session: Session) -> None:
    first = accept(
        session, LOCAL_PORTAL_ID, PutCompany(reference="a", name="A"), '{"reference":"a","name":"A"}', key="k"
    )
    again = accept(
        session, LOCAL_PORTAL_ID, PutCompany(reference="a", name="A"), '{"name":"A", "reference":"a"}', key="k"
    )
    assert (again.job_id, first.repeated, again.repeated) == (first.job_id, False, True)
    assert (show_job(session, first.job_id) or {})["state"] == "queued"


def test_another_request_under_the_same_key_is_a_conflict(session: Session) -> None:
    put(session, "Acmé", "k")
    with pytest.raises(IdempotencyConflict):
        put(session, "Autre", "k")


@pytest.mark.parametrize("key", ["", "x" * 201, "a\x00b", "a\nb"])
def test_a_key_that_cannot_be_one_is_refused_by_name(session: Session, key: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        put(session, "Acmé", key)
    assert refused.value.problems[0].field == "key"


def test_the_job_of_a_key_is_found_once_it_is_accepted(session: Session) -> None:
    assert find_accepted(session, LOCAL_PORTAL_ID, "k") is None
    request = PutCompany(reference="acme", name="Acmé")
    accepted = accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="k")
    assert find_accepted(session, LOCAL_PORTAL_ID, "k") == accepted.job_id


OF_RELEASE_0_2 = "8f46e1527c383c4ee19e3a54732f552305f9d1018b791b3248155ffd0a2bb9c1"
"""The hash that release 0.2.0 kept for CONTRACT, with `release_after_days` null or left out."""

NULL = CONTRACT | {"release_after_days": None}


def put_contract(session: Session, body: dict[str, Any], key: str = "k") -> UUID:
    return accept(session, LOCAL_PORTAL_ID, read("put_contract", body), json.dumps(body), key=key).job_id


@pytest.mark.parametrize(("first", "second"), [(CONTRACT, NULL), (NULL, CONTRACT)], ids=["then null", "null first"])
def test_null_is_another_request_than_leaving_the_field_out(
    session: Session, first: dict[str, Any], second: dict[str, Any]
) -> None:
    job = put_contract(session, first)
    assert put_contract(session, first) == job
    with pytest.raises(IdempotencyConflict):
        put_contract(session, second)


@pytest.mark.parametrize("body", [CONTRACT, NULL], ids=["left out", "null"])
def test_a_key_of_an_earlier_release_still_recognises_its_request(session: Session, body: dict[str, Any]) -> None:
    job = put_contract(session, body)
    earlier = text("UPDATE idempotency SET request_hash = decode(:hash, 'hex'), exact = false")
    session.execute(earlier, {"hash": OF_RELEASE_0_2})
    assert put_contract(session, body) == job
    with pytest.raises(IdempotencyConflict):
        put_contract(session, body | {"planned_seats": 4})
