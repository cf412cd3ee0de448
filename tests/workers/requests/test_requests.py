"""Reading a request: every wrong field is named with a code, nothing is half-read, values are cleaned by
their rules.
"""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from models.words import Code, Policy
from tests.kit.actors.messages import (
    CONTRACT,
    ENROLL,
    PERSON,
    problems,
    read,
)
from workers.errors import InvalidRequest
from workers.requests.base import MAX_ENROLLMENTS
from workers.requests.catalog import PutContract
from workers.requests.enrollment import MAX_PEOPLE, Enroll, PersonToEnroll, RefusedPerson
from workers.requests.queues import ROSTER_SIZE, Queue
from workers.requests.registry import KINDS, parse

TICKED = {"contract": "C-1", "enrollment_ids": [ID := "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11"]}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("=?utf-8?q?Acm=C3=A9?=", Code.UNSAFE_VALUE),
        ("Acmé\r\nBcc: x@example.com", Code.UNSAFE_VALUE),
        ("Acm\x00", Code.UNSAFE_VALUE),
        ("Acm\x1b[31m", Code.UNSAFE_VALUE),
        ("Acm\u202e", Code.UNSAFE_VALUE),
        ("Acm\ud83d", Code.UNSAFE_VALUE),
        ("\ufffdAcmé", Code.UNSAFE_VALUE),
        ("x" * 10_000, Code.VALUE_TOO_LONG),
        ("", Code.MISSING_NAME),
        (" \xa0\u200b", Code.MISSING_NAME),
        (None, Code.INVALID_REQUEST),
        (7, Code.INVALID_REQUEST),
        (["Acmé"], Code.INVALID_REQUEST),
    ],
)
@pytest.mark.parametrize(
    ("kind", "field"), [("put_company", "name"), ("put_training", "title"), ("put_company", "requested_by")]
)
def test_a_text_that_mails_would_show(kind: str, field: str, value: object, code: Code) -> None:
    body = {"reference": "r", "title" if kind == "put_training" else "name": "Nom", field: value}
    if field == "requested_by" and value == "":
        assert read(kind, body).requested_by == ""
    else:
        assert problems(kind, body) == [(code, field)]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", Code.MISSING_NAME),
        ("a b", Code.UNSAFE_VALUE),
        ("é", Code.UNSAFE_VALUE),
        ("a\n", Code.UNSAFE_VALUE),
        ("a\x00", Code.UNSAFE_VALUE),
        ("x" * 101, Code.VALUE_TOO_LONG),
        ("x" * 10_000, Code.VALUE_TOO_LONG),
        (4711, Code.INVALID_REQUEST),
    ],
)
@pytest.mark.parametrize("field", ["reference", "company", "training"])
def test_a_reference_is_kept_to_the_letter(field: str, value: object, code: Code) -> None:
    assert problems("put_contract", CONTRACT | {field: value}) == [(code, field)]


@pytest.mark.parametrize("value", [-1, 1_000_001, 10**30, 1.0, 1.5, True, "3", None, []])
def test_seats_are_a_whole_number(value: object) -> None:
    assert problems("put_contract", CONTRACT | {"planned_seats": value}) == [(Code.INVALID_REQUEST, "planned_seats")]


@pytest.mark.parametrize("value", [0, 1, 1_000_000])
def test_seats_from_none_to_a_million(value: int) -> None:
    request = read("put_contract", CONTRACT | {"planned_seats": value})
    assert isinstance(request, PutContract)
    assert request.planned_seats == value


@pytest.mark.parametrize(
    "value", ["", "31/12/2026", "2026-02-30", "2026-12-31T00:00:00", "0000-01-01", "10000-01-01", 20261231, True, {}]
)
@pytest.mark.parametrize("field", ["starts_on", "ends_on"])
def test_a_date_is_year_month_day(field: str, value: object) -> None:
    assert problems("put_contract", CONTRACT | {field: value}) == [(Code.INVALID_REQUEST, field)]


def test_a_contract_ends_on_its_first_day_or_later() -> None:
    dates = {"starts_on": "2026-03-02", "ends_on": "2026-03-01"}
    assert problems("put_contract", CONTRACT | dates) == [(Code.INVALID_REQUEST, "ends_on")]
    assert read("put_contract", CONTRACT | dates | {"ends_on": "2026-03-02"})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"people": []}, [(Code.INVALID_REQUEST, "people")]),
        ({"people": [PERSON] * (MAX_PEOPLE + 1)}, [(Code.INVALID_REQUEST, "people")]),
        ({"people": None}, [(Code.INVALID_REQUEST, "people")]),
        ({"policy": "best_effort"}, [(Code.INVALID_REQUEST, "policy")]),
        ({"policy": None}, [(Code.INVALID_REQUEST, "policy")]),
        ({"notify": "false"}, [(Code.INVALID_REQUEST, "notify")]),
        ({"dry_run": 1}, [(Code.INVALID_REQUEST, "dry_run")]),
        ({"dryrun": True}, [(Code.INVALID_REQUEST, "dryrun")]),
        ({"kind": "enroll"}, [(Code.INVALID_REQUEST, "kind")]),
        ({"report_to": "nobody"}, [(Code.INVALID_EMAIL, "report_to")]),
        ({"report_to": ""}, [(Code.MISSING_EMAIL, "report_to")]),
        ({"report_to": "a@example.com, b@example.com"}, [(Code.INVALID_EMAIL, "report_to")]),
        ({"report_locale": "de"}, [(Code.INVALID_LOCALE, "report_locale")]),
        (
            {"contract": "", "policy": "x", "people": [], "more": 1},
            [
                (Code.MISSING_NAME, "contract"),
                (Code.INVALID_REQUEST, "people"),
                (Code.INVALID_REQUEST, "policy"),
                (Code.INVALID_REQUEST, "more"),
            ],
        ),
    ],
)  # fmt: skip
def test_every_wrong_field_of_an_enrollment_is_named(change: dict[str, Any], expected: list[tuple[Code, str]]) -> None:
    assert problems("enroll", ENROLL | change) == expected


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"email": "a", "last_name": "b"}, "first_name"),
        (PERSON | {"mail": "x"}, "mail"),
        (PERSON | {"email": None}, "email"),
        (PERSON | {"external_id": 7}, "external_id"),
        (PERSON | {"first_name": float("nan")}, "first_name"),
        (7, ""),
        (None, ""),
        ([PERSON], ""),
        ("zoe@example.com", ""),
    ],
)
def test_a_row_that_is_no_person_leaves_the_others_as_they_are(row: object, field: str) -> None:
    request = read("enroll", ENROLL | {"people": [PERSON, row, PERSON]})
    assert isinstance(request, Enroll)
    good = PersonToEnroll(**PERSON)
    assert (request.people[0], request.people[2]) == (good, good)
    refused = request.people[1]
    assert isinstance(refused, RefusedPerson)
    assert refused.wrong_fields == (field,)


@pytest.mark.parametrize(
    "change",
    [
        {"email": "not an address"},
        {"first_name": ""},
        {"last_name": "x" * 10_000},
        {"first_name": "Nul\x00"},
        {"first_name": "Half\ud83d"},
        {"locale": "de"},
        {"external_id": "x" * 10_000},
    ],
)
def test_a_row_with_bad_values_is_judged_later_and_harms_no_other(change: dict[str, str]) -> None:
    request = read("enroll", ENROLL | {"people": [PERSON, PERSON | change]})
    assert isinstance(request, Enroll)
    assert len(request.people) == 2


def test_a_whole_pair_is_a_character_and_half_a_pair_is_not() -> None:
    body = json.dumps(ENROLL | {"people": [PERSON | {"first_name": "😀"}, PERSON | {"first_name": "\udc00Zoé\ud83d"}]})
    assert "\\ud83d\\ude00" in body
    request = parse("enroll", body.encode())
    assert isinstance(request, Enroll)
    assert [person.first_name for person in request.people] == ["😀", "\0Zoé\0"]


@pytest.mark.parametrize(
    "body",
    ["", " ", "{", "[]", "null", "1", '"enroll"', "\ufeff{}", "[" * 100_000, '{"a":' * 100_000, "{} {}", "{'a': 1}",
     '{"contract": "\\ud800"', '"\\ud800"', '{"contract": "C-1", "people": ["\\ud800"' + "[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused_as_a_whole(body: str) -> None:
    assert problems("enroll", body) == [(Code.INVALID_REQUEST, "")]
    with pytest.raises(InvalidRequest):
        parse("enroll", body.encode())


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        parse("put_company", '{"reference": "a", "name": "Acmé"}'.encode("latin-1"))


@pytest.mark.parametrize(
    "kind", ["", "Enroll", "enroll ", "send_password_reset", "reconcile_seats", "purge", "\x00", "__class__"]
)
def test_a_kind_portals_may_not_send(kind: str) -> None:
    assert problems(kind, "{}") == [(Code.UNKNOWN_KIND, "kind")]


def test_matricule_itself_may_send_the_internal_ones() -> None:
    internal = [kind for kind in KINDS if KINDS[kind].internal]
    scheduled = ["reconcile_seats", "purge", "apply_corrections", "find_words", "send_reminders", "plan_releases"]
    inboxes = "scan_inboxes"
    owed = ["send_password_reset", "issue_certificate", "release_seats", "correct_email_by_ops", "correct_name_by_ops"]
    documents = ["catch_up_certificates", "purge_documents"]
    assert internal == [*owed, *scheduled, "put_inbox", inboxes, "put_organisation", *documents]
    assert all(
        parse(kind, "{}", internal=True).queue is Queue.MAINTENANCE for kind in [*scheduled, inboxes, *documents]
    )


def test_the_record_of_a_refusal_is_bounded_and_holds_no_value() -> None:
    unknown = {f"field_{number}": "secret@example.com" for number in range(2_000)}
    with pytest.raises(InvalidRequest) as refused:
        parse("enroll", json.dumps(ENROLL | unknown))
    shown = refused.value.as_json()
    assert (len(shown["problems"]), shown["problem_count"]) == (20, 2_000)
    assert "secret" not in json.dumps(shown) + str(refused.value)


def test_values_are_kept_as_their_rules_clean_them() -> None:
    request = read("enroll", ENROLL | {"report_to": " Chef@Example.com ", "requested_by": " Zoe\u0301 "})
    assert isinstance(request, Enroll)
    assert (request.report_to, request.requested_by) == ("chef@example.com", "Zoé")
    assert (request.policy, request.notify, request.dry_run) == (Policy.ALL_OR_NOTHING, True, False)


@pytest.mark.parametrize("policy", [*Policy, *map(str, Policy)])
def test_a_policy_may_be_given_as_its_word(policy: Policy | str) -> None:
    request = Enroll(contract="C-1", people=[PersonToEnroll(**PERSON)], policy=policy)
    assert request.policy is Policy(policy)


@pytest.mark.parametrize("policy", ["best_effort", "UNTIL_FULL", "", 0, None, True])
def test_any_other_policy_is_refused(policy: object) -> None:
    with pytest.raises(ValidationError, match="policy"):
        Enroll(contract="C-1", people=[PersonToEnroll(**PERSON)], policy=policy)


@pytest.mark.parametrize("kind", ["reset_passwords", "resend_invitations"])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"enrollment_ids": []}, "enrollment_ids"),
        ({"enrollment_ids": [ID] * (MAX_ENROLLMENTS + 1)}, "enrollment_ids"),
        ({"enrollment_ids": ID}, "enrollment_ids"),
        ({"contract": ""}, "contract"),
        ({"to": "x@example.com"}, "to"),  # the requester cannot choose the recipient of a reset
    ],
)
def test_ticked_rows_are_bounded_and_strict(kind: str, change: dict[str, Any], field: str) -> None:
    assert [found for _, found in problems(kind, TICKED | change)] == [field]


@pytest.mark.parametrize("kind", ["reset_passwords", "resend_invitations"])
def test_many_ticked_rows_wait_on_a_queue_of_their_own(kind: str) -> None:
    few = read(kind, TICKED | {"enrollment_ids": [ID] * ROSTER_SIZE})
    many = read(kind, TICKED | {"enrollment_ids": [ID] * MAX_ENROLLMENTS})
    assert (few.queue, many.queue, few.lane) == (Queue.ENROLLMENTS, Queue.ROSTERS, "contract:C-1")


def test_an_address_is_asked_for_as_it_is_kept() -> None:
    request = read("request_password_reset", {"email": " Zoé.Dû@Example.COM".replace("é", "e").replace("û", "u")})
    assert (request.lane, request.queue) == ("address:zoe.du@example.com", Queue.ENROLLMENTS)
    assert problems("request_password_reset", {"email": "personne"}) == [(Code.INVALID_EMAIL, "email")]
    assert problems("request_password_reset", {}) == [(Code.INVALID_REQUEST, "email")]


def test_two_different_addresses_in_one_field_are_refused() -> None:
    contract = {**CONTRACT, "manager_email": "chef@x.fr <autre@y.fr>"}
    assert problems("put_contract", contract) == [(Code.INVALID_EMAIL, "manager_email")]
    once = read("put_contract", contract | {"manager_email": "chef@x.fr <Chef@x.fr>"})
    assert once.model_dump()["manager_email"] == "chef@x.fr"
