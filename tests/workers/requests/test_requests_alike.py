"""Fingerprints tell which requests are the same; requests have the right lane and queue."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.actors.messages import (
    COMPANY,
    CONTRACT,
    ENROLL,
    PERSON,
    read,
)
from workers.requests.base import fingerprint
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.queues import ROSTER_SIZE, Queue
from workers.requests.registry import parse


@pytest.mark.parametrize(
    ("people", "queue"),
    [(1, Queue.ENROLLMENTS), (ROSTER_SIZE, Queue.ENROLLMENTS), (ROSTER_SIZE + 1, Queue.ROSTERS)],
)
def test_large_requests_have_a_queue_of_their_own(people: int, queue: Queue) -> None:
    assert read("enroll", ENROLL | {"people": [PERSON] * people}).queue is queue


def test_a_contract_and_its_enrollments_share_a_lane() -> None:
    assert read("enroll", ENROLL).lane == read("put_contract", CONTRACT).lane


BASE: dict[str, Any] = ENROLL | {"policy": "valid_rows", "notify": False, "requested_by": "u-7"}


@given(st.permutations(list(BASE)), st.permutations(list(PERSON)))
def test_the_order_of_fields_does_not_change_the_fingerprint(names: list[str], inner: list[str]) -> None:
    shuffled = {name: BASE[name] for name in names} | {"people": [{name: PERSON[name] for name in inner}]}
    assert fingerprint(read("enroll", shuffled)) == fingerprint(read("enroll", BASE))


def test_a_default_that_is_spelt_out_does_not_change_the_fingerprint() -> None:
    spelt_out = ENROLL | {"policy": "all_or_nothing", "notify": True, "report_to": None}
    assert fingerprint(read("enroll", spelt_out)) == fingerprint(read("enroll", ENROLL))


class LaterPerson(PersonToEnroll):
    phone: str | None = None


class LaterEnroll(Enroll):
    """The same request from a later Matricule with more optional fields."""

    people: list[LaterPerson]  # type: ignore[assignment]
    tag: str | None = None


def test_a_request_is_still_the_same_after_its_class_got_optional_fields() -> None:
    assert fingerprint(LaterEnroll.model_validate_json(json.dumps(BASE))) == fingerprint(read("enroll", BASE))
    tagged = LaterEnroll.model_validate_json(json.dumps(BASE | {"tag": "x"}))
    assert fingerprint(tagged) != fingerprint(read("enroll", BASE))


@pytest.mark.parametrize(
    "change",
    [
        {"contract": "C-2"},
        {"policy": "until_full"},
        {"notify": True},
        {"dry_run": True},
        {"requested_by": "u-8"},
        {"people": [PERSON, PERSON]},
        {"people": [PERSON | {"first_name": "Zoe"}]},
        {"people": [PERSON | {"locale": "en"}]},
    ],
)
def test_any_other_request_has_another_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(read("enroll", BASE | change)) != fingerprint(read("enroll", BASE))


def test_two_kinds_with_the_same_body_have_other_fingerprints() -> None:
    prints = {fingerprint(parse(kind, "{}", internal=True)) for kind in ("reconcile_seats", "purge")}
    assert len(prints) == 2
    assert fingerprint(read("put_company", COMPANY)) not in prints
