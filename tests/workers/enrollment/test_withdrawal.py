"""Withdrawing people: a result for each, seats returned, mails cancelled, the person told, each effect once."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import EmailKind, EmailState
from tests.kit.actors.committed_jobs import (
    all_rows,
    claimed,
    done_twice,
    fail_half_way,
)
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    did,
    enrol_people,
    enrolled,
    everything,
    query,
    results,
    seats,
)
from tests.kit.processes.support import rows
from workers.actors import rosters
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import EMAILS, JOBS, queues_to_wake
from workers.enrollment import withdrawal
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.ops.reconciliation import find_drift
from workers.requests.enrollment import Enroll, Withdraw
from workers.requests.queues import ROSTER_SIZE, Queue

MAILS = """
    SELECT e.kind, a.email_norm, e.state, e.queue, e.due_at IS NOT NULL FROM email e
    JOIN account a ON a.id = e.account_id ORDER BY e.kind, a.email_norm"""


def withdraw(*enrollments: UUID, contract: str = "C-1", **options: Any) -> Withdraw:
    return Withdraw(contract=contract, enrollment_ids=list(enrollments), **options)


def letters(session: Session) -> list[Letter]:
    found = [
        row
        for queue in (Queue.EMAILS, Queue.EMAILS_BULK)
        for row in ledger.claim(session, EMAILS, queue, size=200, lease=30, worker=new_id())
    ]
    return write_letters(session, found)


def start(session: Session, enrollment: UUID, progress: str = "in_progress") -> None:
    at = "completed_at" if progress == "completed" else "started_at"
    session.execute(
        text(f"UPDATE enrollment SET progress = :progress, {at} = '2026-02-03T10:00Z' WHERE id = :id"),
        {"progress": progress, "id": enrollment},
    )


def test_each_is_answered_in_order_with_its_state_and_date(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    a, b, c, d = enrolled(session, "a", "b", "c", "d")
    [other] = enrolled(session, "a", contract="C-2")
    start(session, b)
    start(session, c, "completed")
    did(session, withdraw(d))
    unknown = new_id()
    [job] = did(session, withdraw(a, b, c, d, other, unknown, a))
    assert results(job) == [
        *("withdrawn", "already_started", "already_started"),
        *("already_withdrawn", "not_found", "not_found", "already_withdrawn"),
    ]
    since = query(session, "SELECT withdrawn_at FROM enrollment WHERE id = :id", id=d)[0][0].isoformat()
    people = job["result"]["people"]
    assert [person["detail"] for person in people] == [
        None,
        {"progress": "in_progress", "since": "2026-02-03T10:00:00+00:00"},
        {"progress": "completed", "since": "2026-02-03T10:00:00+00:00"},
        {"since": since},
        None,
        None,
        {"since": since},
    ]
    assert [person["enrollment_id"] for person in people] == [str(one) for one in (a, b, c, d, other, unknown, a)]
    assert [person["account_id"] is None for person in people] == [False] * 4 + [True, True, False]
    assert job["state"] == "succeeded"
    assert {name: job["result"][name] for name in ("seats", "planned_seats", "enrolled_count", "remaining")} == {
        "seats": 1,
        "planned_seats": 10,
        "enrolled_count": 2,
        "remaining": 8,
    }
    assert (seats(session), seats(session, "C-2")) == (2, 1)
    assert query(session, "SELECT change, count(*) FROM seat_movement GROUP BY change ORDER BY change") == [
        (-1, 2),
        (1, 5),
    ]


@pytest.mark.parametrize("progress", ["in_progress", "completed"])
def test_a_started_training_keeps_its_seat_and_the_request_is_refused(session: Session, progress: str) -> None:
    add_contract(session)
    [a] = enrolled(session, "a")
    start(session, a, progress)
    before = everything(session)
    [job] = did(session, withdraw(a))
    assert (job["state"], results(job), job["result"]["seats"]) == ("refused", ["already_started"], 0)
    after = everything(session)
    assert {name for name in after if after[name] != before[name]} == {"job", "idempotency"}


def test_an_unknown_contract_is_one_also_when_another_portal_has_it(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a")
    portal = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'other')"), {"id": portal})
    session.execute(text("UPDATE contract SET portal_id = :id"), {"id": portal})
    [job] = did(session, withdraw(a))
    assert (job["state"], job["result"]["code"], results(job)) == ("refused", "unknown_contract", ["unknown_contract"])
    assert query(session, "SELECT count(*) FROM enrollment WHERE withdrawn_at IS NULL") == [(1,)]


def test_the_person_is_told_and_what_was_still_owed_is_cancelled(session: Session) -> None:
    add_contract(session)
    a, b, c = enrolled(session, "a", "b", "c")
    session.execute(text("UPDATE email SET state = 'sent', due_at = NULL WHERE enrollment_id = :id"), {"id": b})
    session.execute(text("UPDATE email SET state = 'sending', leased_until = now() + interval '1 minute'"
                         " WHERE enrollment_id = :id"), {"id": c})  # fmt: skip
    session.info.clear()
    did(session, withdraw(a, b, c))
    assert query(session, MAILS) == [
        ("invitation", "a@example.com", "cancelled", "emails", False),
        ("invitation", "b@example.com", "sent", "emails", False),
        ("invitation", "c@example.com", "sending", "emails", True),
        *(("withdrawal", f"{name}@example.com", "owed", "emails", True) for name in "abc"),
    ]
    assert queues_to_wake(session) == {"emails"}
    found = letters(session)
    assert [(one.kind, one.unsent) for one in found] == [(EmailKind.WITHDRAWAL, None)] * 3
    mail = render(EmailKind.WITHDRAWAL, "fr", found[0].context)
    assert "Acmé a annulé votre inscription à la formation «\u00a0Sécurité\u00a0»." in mail.text
    assert "/links/" not in mail.text + mail.html


def test_a_mailer_that_holds_the_invitation_does_not_send_it(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a")
    held = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    did(session, withdraw(a, notify=False))
    assert [one.unsent for one in write_letters(session, held)] == [EmailState.CANCELLED]


def test_a_person_enrolled_and_withdrawn_silently_gets_no_mail(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a", notify=False)
    did(session, withdraw(a, notify=False))
    assert query(session, MAILS) == []
    assert seats(session) == 0


def test_urgent_mails_overtake_the_mails_of_a_large_withdrawal(session: Session) -> None:
    add_contract(session, seats=20)
    people = enrolled(session, *[f"p{number}" for number in range(11)], notify=False)
    did(session, withdraw(*people))
    assert query(session, "SELECT DISTINCT kind, queue FROM email") == [("withdrawal", "emails_bulk")]


def test_a_withdrawn_person_can_be_enrolled_and_withdrawn_again(session: Session) -> None:
    add_contract(session, seats=1)
    [first] = enrolled(session, "a")
    did(session, withdraw(first))
    assert enrol_people(session, "b") == ["enrolled"]
    [b] = query(session, "SELECT id FROM enrollment WHERE withdrawn_at IS NULL")[0]
    did(session, withdraw(b, notify=False))
    [second] = enrolled(session, "a")
    assert second != first
    assert (seats(session), find_drift(session)) == (1, [])
    assert query(session, "SELECT count(*), count(withdrawn_at) FROM enrollment") == [(3, 2)]
    # The mail about the new enrollment has the valid link; the unsent withdrawal mail would only confuse.
    found = {(one.kind, one.unsent): one for one in letters(session)}
    attached = found.pop((EmailKind.ATTACHMENT, None))
    assert attached.context["link"]
    assert list(found) == [(EmailKind.WITHDRAWAL, EmailState.CANCELLED)]
    [again] = did(session, withdraw(second))
    assert results(again) == ["withdrawn"]
    assert [one.unsent for one in letters(session)] == [None]
    assert query(session, "SELECT count(*), count(DISTINCT dedup_key) FROM email WHERE kind = 'withdrawal'") == [(2, 2)]


def test_each_withdrawal_of_a_batch_shows_the_counters_it_left(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    a, b, c = enrolled(session, "a", "b", "c")
    [d] = enrolled(session, "d", contract="C-2")
    jobs = did(session, withdraw(a), withdraw(d, contract="C-2"), withdraw(b, a), withdraw(d), withdraw(c))
    assert [results(job) for job in jobs] == [
        ["withdrawn"],
        ["withdrawn"],
        ["withdrawn", "already_withdrawn"],
        ["not_found"],
        ["withdrawn"],
    ]
    assert [job["result"]["enrolled_count"] for job in jobs] == [2, 0, 1, 1, 0]
    assert [job["state"] for job in jobs] == ["succeeded"] * 3 + ["refused", "succeeded"]


def test_only_real_changes_are_in_the_audit(session: Session) -> None:
    [contract] = [add_contract(session)]
    a, b, c = enrolled(session, "a", "b", "c")
    found = did(session, withdraw(a, requested_by="u-7"), withdraw(a, requested_by="u-7"), withdraw(b, c, a))
    audited = query(session, "SELECT job_id, requested_by, subject_id, account_id IS NULL, company_id IS NULL, detail"
                             " FROM audit WHERE action = 'withdraw' ORDER BY id")  # fmt: skip
    assert audited == [
        (UUID(found[0]["id"]), "u-7", a, False, False, {"counts": {"withdrawn": 1}}),
        (UUID(found[2]["id"]), "", contract, True, False, {"counts": {"withdrawn": 2, "already_withdrawn": 1}}),
    ]


# Done once, also after a crash


def contract_with(*people: str) -> list[UUID]:
    with transaction() as session:
        add_contract(session, seats=len(people))
        return enrolled(session, *people)


def test_run_twice_it_is_done_once(fresh_database: str) -> None:
    a, b = contract_with("a", "b")
    with transaction() as session:
        assert accepted(session, withdraw(a, b), "one") == accepted(session, withdraw(a, b), "one")
    taken = claimed()
    before = done_twice(taken)
    with transaction() as session:
        [job] = did(session, withdraw(a, b), key="another")
    assert (job["state"], results(job)) == ("succeeded", ["already_withdrawn"] * 2)
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "job_person", "idempotency"}


@pytest.mark.parametrize("step", ["record_people", "record_all", "outcome", "owe"])
def test_a_withdrawal_that_fails_half_way_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    people = contract_with("a", "b")
    with transaction() as session:
        accepted(session, withdraw(*people))
    fail_half_way(monkeypatch, withdrawal, step)
    assert BatchRun(JOBS, do_jobs).run(claimed())
    assert rows("SELECT state, failures FROM job") == [("succeeded", 1)]
    assert rows("SELECT count(*) FROM email WHERE kind = 'withdrawal' AND state = 'owed'") == [(2,)]
    assert rows("SELECT enrolled_count FROM contract") == [(0,)]
    all_rows()


def test_over_a_thousand_go_by_the_queue_of_large_requests(fresh_database: str) -> None:
    number = ROSTER_SIZE + 1
    with transaction() as session:
        add_contract(session, seats=number)
        request: Enroll = asking(*[f"p{index}" for index in range(number)], notify=False)
        did(session, request)
        people = [one for (one,) in query(session, "SELECT id FROM enrollment")]
        assert withdraw(*people).queue is Queue.ROSTERS
        accepted(session, withdraw(*people))
    rosters.do_batch(claimed(Queue.ROSTERS))
    assert rows("SELECT state FROM job WHERE kind = 'withdraw'") == [("succeeded",)]
    assert rows("SELECT code, count(*) FROM job_person WHERE code = 'withdrawn' GROUP BY code") == [
        ("withdrawn", number)
    ]
    assert rows("SELECT enrolled_count FROM contract") == [(0,)]
    all_rows()
