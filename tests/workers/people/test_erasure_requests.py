"""An erasure empties the person's rows in requests, refused messages, reports and files; rows of other people stay."""

import io
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.ops_action import ActionVerb
from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    did,
    enrol_people,
    enrolled,
    query,
    results,
    someone,
)
from tests.kit.builders.erasure import (
    WORDS,
    anne,
    erasing,
    traces,
)
from workers.database import Session
from workers.engine import ledger
from workers.engine.acceptance import record_refusal
from workers.engine.ledger import EMAILS
from workers.errors import InvalidRequest, Problem
from workers.imports.files import store_file
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.ops.actions import act_at_once
from workers.reading.jobs import show_job
from workers.requests.accounts import CorrectEmail, ExportPerson
from workers.requests.certificates import CorrectCertificate
from workers.requests.enrollment import Enroll
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue
from workers.requests.registry import parse

HOSTILE = "Anne\u0000 <b>\u202e=1+1"


def test_the_erasure_request_itself_is_never_kept(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    jobs = [*did(session, erasing()), *did(session, erasing()), *did(session, erasing("nobody@example.com"))]
    assert [job["result"]["code"] for job in jobs] == ["erased", "not_found", "not_found"]
    assert query(session, "SELECT count(*), count(request) FROM job WHERE kind = 'erase_person'") == [(3, 0)]
    # A repeat under the same key is still recognised: the ledger keeps a hash.
    accepted(session, erasing(), "one")
    did(session)
    assert accepted(session, erasing(), "one") == UUID(
        str(query(session, "SELECT job_id FROM idempotency WHERE key = 'one'")[0][0])
    )


def test_a_refused_or_hostile_row_is_emptied_and_its_neighbours_stay(session: Session) -> None:
    add_contract(session, seats=1)
    did(session, asking("zoe"))
    refused = asking(someone("ANNE.lorval@Example.com", HOSTILE), someone("xanne.lorval@example.com", HOSTILE, "Reste"))
    did(session, refused)
    did(session, asking(anne(), contract="C-404"))
    add_contract(session, "C-2")
    enrol_people(session, anne(), contract="C-2")
    did(session, erasing())
    assert traces(session, *WORDS).keys() == {"job"}
    [(request,)] = query(session, "SELECT CAST(request AS text) FROM job WHERE CAST(request AS text) LIKE '%xanne%'")
    left = parse("enroll", request)
    assert isinstance(left, Enroll)
    assert [(one.email, one.first_name, one.last_name) for one in left.people] == [
        ("", "", ""),
        ("xanne.lorval@example.com", HOSTILE, "Reste"),
    ]


def test_an_address_of_another_person_now_or_then_is_left_alone(session: Session) -> None:
    add_contract(session)
    did(session, asking(someone("bob@example.com", "Robert", "Premier")))
    session.execute(text("UPDATE account SET email_norm = 'robert@example.com'"))
    did(session, asking(someone("bob@example.com", "Bob", "Second")))
    did(session, erasing("bob@example.com"))
    assert [row for found in traces(session, "second").values() for row in found] == []
    assert traces(session, "premier").keys() == {"account", "job", "enrollment", "participant_word"}


def test_unfinished_requests_are_left_alone(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    session.execute(text("UPDATE job SET due_at = NULL"))
    later = accepted(session, asking(anne()), "later")
    session.execute(text("UPDATE job SET due_at = now() + interval '1 hour' WHERE id = :id"), {"id": later})
    did(session, erasing())
    assert "lorval" in query(session, "SELECT CAST(request AS text) FROM job WHERE id = :id", id=later)[0][0].lower()


def test_corrections_that_were_typed_are_emptied(session: Session) -> None:
    add_contract(session)
    [enrollment] = enrolled(session, anne())
    job = accepted(session, CorrectEmail(enrollment_id=enrollment, email="anne.autre@example.com"), "typed")
    session.execute(text("UPDATE job SET state = 'refused', due_at = NULL, finished_at = now() WHERE id = :id"),
                    {"id": job})  # fmt: skip
    did(session, erasing())
    assert query(session, "SELECT request FROM job WHERE id = :id", id=job) == [(None,)]


def test_names_typed_to_correct_a_certificate_are_exported_and_emptied(session: Session) -> None:
    add_contract(session)
    mine, others = enrolled(session, anne(), someone("zoe"))
    corrections = {one: CorrectCertificate(enrollment_id=one, last_name="Dû", reason="typo") for one in (mine, others)}
    jobs = {one: accepted(session, request, request.lane) for one, request in corrections.items()}
    session.execute(
        text("UPDATE job SET state = 'refused', due_at = NULL, finished_at = now() WHERE due_at IS NOT NULL")
    )
    exported = did(session, ExportPerson(email="anne.lorval@example.com"))[-1]["result"]["person"]["typed"]
    assert [one["request"]["last_name"] for one in exported if one["kind"] == "correct_certificate"] == ["Dû"]
    did(session, erasing())
    left = query(session, "SELECT id FROM job WHERE request IS NOT NULL AND kind = 'correct_certificate'")
    assert left == [(jobs[others],)]


def test_a_dead_request_that_is_retried_refuses_the_emptied_row(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    job = accepted(session, asking(anne(), "yves", policy="valid_rows"), "dead")
    session.execute(
        text("UPDATE job SET state = 'dead', due_at = NULL, finished_at = now() WHERE id = :id"), {"id": job}
    )
    did(session, erasing())
    assert [row.outcome for row in act_at_once(session, ActionVerb.RETRY, [job], asked_by="ops")] == ["done"]
    did(session)
    shown = show_job(session, job) or {}
    assert results(shown) == ["missing_email", "enrolled"]


def test_a_message_that_was_refused_and_names_the_person_is_emptied(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    hers = b'\xff\x00{"people": [{"email": "ANNE.Lorval@example.com", "first_name": "Anne", "locale": 5}]}'
    for message in (hers, b'\xff{"people": [{"email": "zoe@example.com", "locale": 5}]}'):
        problem = InvalidRequest(Problem(Code.INVALID_REQUEST, "people.0.locale"))
        record_refusal(session, message, problem, content=message, owner=None, kind="enroll")
    [job] = did(session, erasing())
    assert job["result"]["counts"]["messages"] == 1
    kept = query(session, "SELECT message IS NULL, error ->> 'code' FROM job WHERE state = 'refused' ORDER BY id")
    assert kept == [(True, "invalid_request"), (False, "invalid_request")]


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_an_accented_domain_is_found_as_it_was_typed(session: Session, ensure_ascii: bool) -> None:
    typed = "anne@école.example"
    add_contract(session)
    enrol_people(session, someone(typed, "Anne", "Lorval"))
    did(session, asking(someone("Anne@ÉCOLE.example", "Anne", "Lorval"), "zoe", contract="C-404"))
    bad = json.dumps({"people": [{"email": typed, "locale": 5}]}, ensure_ascii=ensure_ascii).encode()
    problem = InvalidRequest(Problem(Code.INVALID_REQUEST, "people.0.locale"))
    record_refusal(session, bad, problem, content=bad, owner=None, kind="enroll")
    [job] = did(session, erasing("anne@xn--cole-9oa.example"))
    assert (job["state"], job["result"]["counts"]["messages"]) == ("succeeded", 1)
    assert traces(session, *WORDS) == {}
    assert query(session, "SELECT count(*) FROM job WHERE lower(CAST(request AS text)) LIKE '%zoe@%'") == [(1,)]


def test_json_of_a_blanked_request_is_what_was_sent_but_for_the_row(session: Session) -> None:
    add_contract(session)
    request = asking(anne(external_id="7"), "zoe", requested_by="u-7", notify=False)
    did(session, request)
    did(session, erasing())
    [(body,)] = query(session, "SELECT request FROM job WHERE kind = 'enroll'")
    sent = json.loads(request.model_dump_json(exclude_unset=True))
    assert body == sent | {"people": [{"email": "", "first_name": "", "last_name": ""}, sent["people"][1]]}


def test_files_that_name_the_person_go_unless_an_import_needs_them(session: Session) -> None:
    add_contract(session)
    [enrollment] = enrolled(session, anne())
    contents = (b"Anne", b"nobody", b"Anne, later")
    file, other, going = [store_file(session, LOCAL_PORTAL_ID, io.BytesIO(content)) for content in contents]
    for sha256, finished, names_her in ((file, True, True), (other, True, False), (going, False, True)):
        job_id = accepted(session, ImportRoster(contract="C-1", file=sha256, file_name="x"), sha256)
        session.execute(
            text("INSERT INTO roster (job_id, portal_id, fingerprint, sha256, file_name)"
                 " SELECT id, portal_id, '', :f, 'x' FROM job WHERE id = :job"),
            {"job": job_id, "f": bytes.fromhex(sha256)},
        )  # fmt: skip
        session.execute(
            text("UPDATE job SET due_at = NULL, finished_at = CASE WHEN :f THEN now() END WHERE id = :job"),
            {"job": job_id, "f": finished},
        )
        if names_her:
            session.execute(
                text("INSERT INTO job_person (job_id, position, code, account_id, enrollment_id) SELECT :job, 0,"
                     " 'already_enrolled', account_id, id FROM enrollment WHERE id = :e"),
                {"job": job_id, "e": enrollment},
            )  # fmt: skip
    [job] = did(session, erasing())
    assert job["result"]["counts"]["files"] == 1
    left = query(session, "SELECT encode(sha256, 'hex') FROM roster_file ORDER BY 1")
    assert left == [(one,) for one in sorted((other, going))]
    assert query(session, "SELECT count(*) FROM roster_part") == [(2,)]


# Reports


def report(session: Session, *people: Any, **options: Any) -> Any:
    did(session, asking(*people, report_to="chef@example.com", **options))
    session.execute(text("UPDATE email SET due_at = NULL WHERE kind <> 'enrollment_report'"))
    did(session, erasing())
    [row] = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    [letter] = write_letters(session, [row])
    return letter


def test_an_owed_report_counts_erased_people_and_does_not_list_them(session: Session) -> None:
    add_contract(session)
    letter = report(session, "zoe", anne(), someone("", "", ""), policy="valid_rows")
    assert letter.unsent is None
    assert [(one["position"], one["code"]) for one in letter.context["people"]] == [
        (1, "enrolled"), (3, "missing_email"),
    ]  # fmt: skip
    assert letter.context["counts"] == {"enrolled": 2, "missing_email": 1}
    mail = render(letter.kind, "fr", letter.context)
    assert "lorval" not in (mail.text + mail.html).lower()
    assert "zoe@example.com" in mail.text


def test_a_report_without_other_people_is_sent_with_its_counts(session: Session) -> None:
    add_contract(session)
    letter = report(session, anne())
    assert (letter.unsent, letter.context["people"]) == (None, [])
    mail = render(letter.kind, "fr", letter.context)
    assert "Personne par personne" not in mail.text
    assert "C-1" in mail.text


def test_a_report_of_a_request_no_longer_kept_is_cancelled(session: Session) -> None:
    add_contract(session)
    did(session, asking("zoe", report_to="chef@example.com"))
    session.execute(text("UPDATE job SET request = NULL"))
    found = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    assert sorted(str(one.unsent) for one in write_letters(session, found)) == ["None", "cancelled"]
    session.execute(text("DELETE FROM job"))
    assert sorted(str(one.unsent) for one in write_letters(session, found)) == ["None", "cancelled"]
