"""The suppression list: enrollments and resets report it, dry run or not; operators add, remove and list addresses."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.retention import RetentionClass
from models.words import Code, EmailKind, Policy
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    codes,
    did,
    enrol,
    everything,
    query,
    seats,
    someone,
)
from tests.kit.builders.password_links import (
    answers,
    do,
    enrolled,
    mails,
    resend,
    reset,
)
from tests.kit.processes import support
from tests.kit.processes.support import wait_until
from workers.database import Session, get_engine, transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.ops.status import read_status
from workers.outbox import suppression
from workers.outbox.suppression import (
    lift,
    list_suppressed,
    read_suppressed,
    suppress,
    suppress_addresses_of,
    suppress_bounced,
)
from workers.people.retention import purge
from workers.requests.accounts import ErasePerson, RequestPasswordReset
from workers.requests.queues import Queue

ANNE = "anne@example.com"
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


PUT = text("""
    INSERT INTO suppression (email_norm, reason, until)
    VALUES (:email, 'ops', now() + CAST(:until AS interval))""")


def put(session: Session, email: str = ANNE, until: str | None = None) -> None:
    """Puts an address on the list, until a moment or without an end."""
    session.execute(PUT, {"email": email, "until": until})


@pytest.mark.parametrize(("until", "code"), [(None, Code.SUPPRESSED_ADDRESS), ("1 day", Code.SUPPRESSED_ADDRESS),
                                             ("-1 second", Code.ENROLLED)])  # fmt: skip
@pytest.mark.parametrize("dry_run", [False, True])
def test_no_one_is_enrolled_under_a_suppressed_address(
    session: Session, until: str | None, code: Code, dry_run: bool
) -> None:
    add_contract(session, seats=2)
    put(session, until=until)
    request = asking("anne", "luc", policy=Policy.UNTIL_FULL, dry_run=dry_run)
    assert codes(enrol(session, request)[0]) == [code, Code.ENROLLED]
    there = 0 if dry_run else 1 + (code is Code.ENROLLED)
    assert seats(session) == there
    assert query(session, "SELECT count(*) FROM email WHERE state = 'owed'") == [(there,)]


def test_the_row_that_is_refused_is_named_and_costs_nothing(session: Session) -> None:
    add_contract(session, seats=1)
    put(session)
    people = [someone("  ANNE@Example.com "), someone("luc@example.com")]
    [job] = did(session, asking(*people, policy=Policy.VALID_ROWS, report_to="chef@example.com"))
    first, second = job["result"]["people"]
    assert (first["code"], first["field"], first["account_id"]) == ("suppressed_address", "email", None)
    [(since,)] = query(session, "SELECT created_at FROM suppression")
    assert (first["detail"], second["detail"]) == ({"since": since.isoformat()}, None)
    assert (second["code"], seats(session)) == ("enrolled", 1)
    assert query(session, "SELECT count(*) FROM account") == [(1,)]
    rows = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    [report] = [one for one in write_letters(session, rows) if one.kind is EmailKind.ENROLLMENT_REPORT]
    assert "ne reçoit pas nos messages" in render(report.kind, "fr", report.context).text


def test_a_person_already_enrolled_stays_enrolled(session: Session) -> None:
    add_contract(session)
    enrol(session, asking("anne"))
    put(session)
    assert codes(enrol(session, asking("anne"))[0]) == [Code.ALREADY_ENROLLED]


@pytest.mark.parametrize("activated", [False, True])
def test_a_link_is_not_sent_again_to_such_an_address(session: Session, activated: bool) -> None:
    anne, luc = enrolled(session, "anne", "luc", activated=activated)
    put(session)
    reset_luc = "sent" if activated else "activation_sent_instead"
    invited_luc = "already_activated" if activated else "sent"
    invited_anne = "already_activated" if activated else "suppressed_address"
    before = query(session, "SELECT count(*) FROM throttle")
    [refused] = do(session, reset(anne))
    [(since,)] = query(session, "SELECT created_at FROM suppression")
    assert refused["result"]["people"][0]["code"] == "suppressed_address"
    assert refused["result"]["people"][0]["detail"] == {"since": since.isoformat()}
    assert answers(session, resend(anne)) == [invited_anne]
    assert query(session, "SELECT count(*) FROM throttle") == before  # an unsent mail does not count
    assert answers(session, reset(anne, luc)) == ["suppressed_address", reset_luc]
    assert answers(session, resend(anne, luc)) == [invited_anne, invited_luc]
    assert {to for _, _, to in mails(session)} == {"luc@example.com"}
    session.execute(text("UPDATE suppression SET until = now()"))
    assert answers(session, reset(anne)) == [reset_luc]


def test_a_forgotten_password_gets_the_usual_answer(session: Session) -> None:
    enrolled(session, "anne", "luc")
    put(session)
    asked = [RequestPasswordReset(email=f"{name}@example.com") for name in ("anne", "luc", "nobody")]
    found = [_shown(job) for job in do(session, *asked)]
    assert found[0] == found[1] == found[2]
    assert [to for _, _, to in mails(session)] == ["luc@example.com"]
    said = query(session, "SELECT result, detail FROM audit WHERE action = 'request_password_reset' ORDER BY result")
    assert [(code, since and set(since)) for code, since in said] == [("sent", None), ("suppressed_address", {"since"})]


def _shown(job: dict[str, Any]) -> tuple[Any, ...]:
    return job["state"], job["result"], job["error"], job["attempts"]


@pytest.mark.parametrize("kind", ["invitation", "attachment", "password_reset", "withdrawal", "enrollment_report"])
def test_a_mail_owed_to_such_an_address_ends_suppressed(session: Session, kind: str) -> None:
    add_contract(session)
    accepted(session, asking("anne"))
    enrol(session, asking("anne"))
    session.execute(text("UPDATE email SET kind = :kind, job_id = (SELECT id FROM job)"), {"kind": kind})
    put(session)
    links = query(session, "SELECT CAST(l AS text) FROM link l")
    session.execute(text("UPDATE link SET expires_at = now()"))
    rows = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    [letter] = write_letters(session, rows)
    assert (letter.unsent, letter.context) == ("suppressed", {})
    assert query(session, "SELECT count(*) FROM link") == [
        (len(links),)
    ]  # no link is made for a mail that does not leave
    session.execute(text("UPDATE email SET expires_at = now()"))
    [row] = rows
    late = ledger.ClaimedRow(row.id, row.claim, 0, 0, row.lane, row.columns._replace(expired=True))
    assert write_letters(session, [late])[0].unsent == "expired"


# The list


def test_operators_add_and_remove_once_and_the_audit_has_no_address(session: Session) -> None:
    enrolled(session, "anne")
    assert suppress(session, ANNE, why="asked by phone", requested_by="shell:zoe") == "listed"
    before = everything(session)
    assert suppress(session, ANNE, why="again", requested_by="shell:zoe") == "already_listed"
    assert everything(session) == before
    assert [(one.email, one.reason, one.until) for one in list_suppressed(session)] == [(ANNE, "ops", None)]
    assert lift(session, ANNE, requested_by="shell:luc") == "lifted"
    before = everything(session)
    assert lift(session, ANNE, requested_by="shell:luc") == "not_listed"
    assert everything(session) == before
    [(account,)] = query(session, "SELECT id FROM account")
    trail = "SELECT action, requested_by, account_id, detail FROM audit WHERE action LIKE '%suppress%' ORDER BY id"
    assert query(session, trail) == [
        ("suppress", "shell:zoe", account, {"reason": "asked by phone"}),
        ("lift_suppression", "shell:luc", account, None),
    ]
    assert ANNE not in str(query(session, "SELECT CAST(a AS text) FROM audit a"))


def test_operators_may_keep_a_bounced_address_of_no_account(session: Session) -> None:
    suppress_bounced(session, [ANNE])
    assert suppress(session, ANNE, why="complaint", requested_by="x") == "listed"
    suppress_bounced(session, [ANNE])
    assert [(one.reason, one.until) for one in list_suppressed(session)] == [("ops", None)]
    assert query(session, "SELECT action, account_id FROM audit") == [("suppress", None)]


def test_a_bounce_after_the_erasure_of_its_person_lists_no_address(session: Session) -> None:
    add_contract(session)
    enrol(session, asking("anne", "luc"))
    held = ledger.claim(session, EMAILS, Queue.EMAILS_BULK, size=9, lease=30, worker=new_id())
    held += ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    assert {row.columns.to_address for row in held} == {ANNE, "luc@example.com"}
    did(session, ErasePerson(email=ANNE, reason="asked"))
    suppress_addresses_of(session, [row.id for row in held])
    assert [one.email for one in list_suppressed(session)] == ["luc@example.com"]
    suppress_addresses_of(session, [])
    assert ANNE not in str(query(session, "SELECT CAST(s AS text) FROM suppression s"))


def test_an_expired_entry_is_on_no_list(session: Session) -> None:
    suppress_bounced(session, [ANNE, "luc@example.com"])
    [(anne, until), _] = query(session, "SELECT email_norm, until - created_at FROM suppression ORDER BY email_norm")
    assert (anne, until) == (ANNE, timedelta(days=7))
    assert set(read_suppressed(session, [ANNE, "x@example.com"])) == {ANNE}
    assert read_status(session, None)["suppressed_addresses"] == 2
    session.execute(text("UPDATE suppression SET until = now() WHERE email_norm = :anne"), {"anne": ANNE})
    assert (read_suppressed(session, [ANNE]), read_status(session, None)["suppressed_addresses"]) == ({}, 1)
    assert [one.email for one in list_suppressed(session)] == ["luc@example.com"]
    assert lift(session, ANNE, requested_by="x") == "not_listed"
    assert query(session, "SELECT count(*) FROM audit") == [(0,)]
    assert read_suppressed(session, []) == {}


def test_suppressed_mails_are_no_problem(session: Session) -> None:
    add_contract(session)
    enrol(session, asking("anne"))
    session.execute(
        text("UPDATE email SET state = 'suppressed', due_at = NULL, created_at = now() - interval '2 days'")
    )
    status = read_status(session, None)
    assert status["mails"] == {"suppressed": 1}
    assert [one for one in status["problems"] if one["subject"] == "emails" and one["code"] != "no_process"] == []


def test_two_bounces_in_opposite_orders_wait_and_do_not_deadlock(fresh_database: str) -> None:
    def bounce() -> None:
        with transaction() as session:
            suppress_bounced(session, ["b@x.fr", "a@x.fr"])

    with ThreadPoolExecutor(1) as pool, transaction() as first:
        suppress_bounced(first, ["a@x.fr", "b@x.fr", "a@x.fr"])
        second = pool.submit(bounce)
        wait_until(lambda: support.rows(WAITING))
        first.commit()
        second.result(30)
    found = support.rows("SELECT email_norm, count(*), min(until - created_at) FROM suppression GROUP BY 1 ORDER BY 1")
    assert [(email, number) for email, number, _ in found] == [("a@x.fr", 1), ("b@x.fr", 1)]
    assert all(lasts >= timedelta(days=7) for *_, lasts in found)  # type: ignore[operator]


@pytest.mark.parametrize("by_ops", [True, False])
def test_an_expired_entry_listed_again_is_not_purged(fresh_database: str, by_ops: bool) -> None:
    """The purge runs between the two statements. Before them it would leave nothing, after them it finds a current
    entry.
    """
    with transaction() as session:
        put(session, until="-1 second")

    class PurgedBetween(Session):
        def execute(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
            if statement is suppression.LOCK_SUPPRESSIONS:
                with transaction() as other:
                    assert purge(other)[RetentionClass.SUPPRESSION] == 0
            return super().execute(statement, *args, **kwargs)

    with PurgedBetween(get_engine()) as session, session.begin():
        if by_ops:
            assert suppress(session, ANNE, why="complaint", requested_by="ops") == "listed"
        else:
            suppress_bounced(session, [ANNE])
    reason = "ops" if by_ops else "hard_bounce"
    assert support.rows("SELECT email_norm, reason, until IS NULL FROM suppression") == [(ANNE, reason, by_ops)]


def test_ops_and_a_bounce_at_once_leave_what_ops_wrote(fresh_database: str) -> None:
    with ThreadPoolExecutor(1) as pool, transaction() as first:
        suppress(first, "a@x.fr", why="w", requested_by="x")

        def bounce() -> None:
            with transaction() as session:
                suppress_bounced(session, ["a@x.fr"])

        second = pool.submit(bounce)
        wait_until(lambda: support.rows(WAITING))
        first.commit()
        second.result(30)
    assert support.rows("SELECT reason, until FROM suppression") == [("ops", None)]
