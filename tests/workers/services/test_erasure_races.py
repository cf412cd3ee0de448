"""An erasure and what happens to the same person at the same moment: real sessions, both orders, one truth."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, EmailState, Policy, Progress
from tests.accounts import keys, make_link
from tests.committed import claimed
from tests.contracts import accepted, add_contract, asking, enrolled, query, seats, someone
from tests.racers import persist
from tests.support import rows, wait_until
from workers import ledger
from workers.database import Session, is_transient, transaction
from workers.errors import Transient
from workers.ledger import EMAILS, JOBS, Claimed
from workers.queues import Queue
from workers.requests import ErasePerson, ExportPerson, ProgressEvent, RecordProgress, Withdraw
from workers.services.jobs import SERVICES, do_jobs
from workers.services.letters import read_letters
from workers.services.maintenance import find_drift
from workers.services.passwords import choose_password
from workers.shapes import Request

ANNE = "anne@example.com"
BEA = "bea@example.com"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
PEOPLE = "SELECT first_name, erased_at IS NOT NULL FROM account ORDER BY erased_at IS NULL"
TRUTH = """
    SELECT e.progress, e.withdrawn_at IS NOT NULL, (SELECT enrolled_count FROM contract),
      (SELECT count(*) FROM certificate_holder), (SELECT count(*) FROM job WHERE kind = 'issue_certificate')
    FROM enrollment e ORDER BY e.id"""
TRACES = """
    SELECT count(*) FROM account a JOIN email m ON m.account_id = a.id
    WHERE a.erased_at IS NOT NULL AND (m.to_address <> '' OR m.due_at IS NOT NULL)"""

ERASING = ErasePerson(email=ANNE, reason="x")


@pytest.fixture
def threads(fresh_database: str) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def anne(first_name: str = "Anne") -> Any:
    return someone(ANNE, first_name, "Lorval")


def contract_with_anne() -> list[UUID]:
    with transaction() as session:
        add_contract(session)
        return enrolled(session, anne())


def completing(enrollments: list[UUID]) -> RecordProgress:
    at = datetime(2026, 3, 5, tzinfo=UTC)
    events = [ProgressEvent(enrollment_id=one, progress=Progress.COMPLETED, occurred_at=at) for one in enrollments]
    return RecordProgress(events=events)


def do(session: Session, request: Request) -> dict[str, Any]:
    """What its service answers."""
    columns = {"kind": request.kind, "request": request.model_dump_json(), "portal_id": LOCAL_PORTAL_ID}
    row = Claimed(new_id(), 1, 0, 0, new_id(), columns | {"requested_by": ""})
    [outcome] = SERVICES[request.kind](session, [row])
    return dict(outcome.result or {})


def persistently(request: Request) -> dict[str, Any]:
    """In transactions of its own, again after each fault around it, as a worker would."""
    pause = Event()
    while True:
        try:
            with transaction() as session:
                return do(session, request)
        except Exception as error:
            if not (isinstance(error, Transient) or is_transient(error)):
                raise
        pause.wait(random.uniform(0.005, 0.05))


def sound() -> None:
    with transaction() as session:
        assert find_drift(session) == []
    assert rows(TRACES) == [(0,)]


def test_whoever_is_enrolled_during_an_erasure_is_a_new_person(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as session:
        add_contract(session, "C-2")
    with transaction() as first:
        assert do(first, ERASING)["code"] == Code.ERASED
        second = threads.submit(persist, asking(anne("Annie"), contract="C-2"))
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30) == ["enrolled"]
    assert rows(PEOPLE) == [("", True), ("Annie", False)]
    with transaction() as session:
        assert (seats(session), seats(session, "C-2")) == (0, 1)
    sound()


@pytest.mark.parametrize("contract", ["C-1", "C-2"])
def test_an_erasure_that_arrives_during_an_enrollment_finds_it(threads: ThreadPoolExecutor, contract: str) -> None:
    """Also on a contract it had not locked: it begins again, and gives that seat back too."""
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C-2")
        enrolled(session, anne(), contract="C-1" if contract == "C-2" else "C-2")
    with transaction() as first:
        assert len(enrolled(first, anne(), contract=contract)) == 1
        second = threads.submit(persistently, ERASING)
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30)["counts"]["seats"] == 2
    assert rows(PEOPLE) == [("", True)]
    with transaction() as session:
        assert (seats(session), seats(session, "C-2")) == (0, 0)
    sound()


def test_a_password_chosen_during_an_erasure_is_not(threads: ThreadPoolExecutor) -> None:
    token = link_of_anne()
    with transaction() as first:
        do(first, ERASING)
        second = threads.submit(choose, token)
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30) is Code.INVALID_LINK
    assert rows("SELECT password_hash, activated_at FROM account") == [(None, None)]
    sound()


def test_an_erasure_that_arrives_while_a_password_is_chosen_forgets_it(threads: ThreadPoolExecutor) -> None:
    token = link_of_anne()
    with transaction() as first:
        assert not isinstance(choose_password(first, keys(), token, "hash"), Code)
        second = threads.submit(persistently, ERASING)
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30)["code"] == Code.ERASED
    assert rows("SELECT password_hash, credential_version FROM account") == [(None, 3)]
    sound()


def link_of_anne() -> str:
    contract_with_anne()
    with transaction() as session:
        session.execute(text("UPDATE link SET voided_at = now()"))
        [(account,)] = query(session, "SELECT id FROM account")
        return make_link(session, account)[1]


def choose(token: str) -> object:
    with transaction() as session:
        return choose_password(session, keys(), token, "hash")


def test_a_completion_that_is_told_during_an_erasure_finds_the_person_gone(threads: ThreadPoolExecutor) -> None:
    people = contract_with_anne()
    with transaction() as first:
        do(first, ERASING)
        second = threads.submit(persistently, completing(people))
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30)["counts"] == {"already_withdrawn": 1}
    assert rows(TRUTH) == [("not_started", True, 0, 0, 0)]
    sound()


def test_an_erasure_that_arrives_during_a_completion_keeps_the_names_of_the_certificate(
    threads: ThreadPoolExecutor,
) -> None:
    people = contract_with_anne()
    with transaction() as first:
        do(first, completing(people))
        second = threads.submit(persistently, ERASING)
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30)["counts"]["certificates"] == 1
    assert rows(TRUTH) == [("completed", False, 1, 1, 1)]
    assert rows("SELECT first_name, last_name FROM certificate_holder") == [("Anne", "Lorval")]
    sound()


def test_of_two_erasures_at_once_one_finds_nobody(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as first:
        assert do(first, ERASING)["code"] == Code.ERASED
        second = threads.submit(persistently, ERASING)
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30)["code"] == Code.NOT_FOUND
    trail = rows("SELECT result, account_id IS NULL FROM audit WHERE action = 'erase_person' ORDER BY id")
    assert trail == [("done", False), ("not_found", True)]
    sound()


@pytest.mark.parametrize("order", [(ANNE, BEA), (BEA, ANNE)])
def test_two_people_of_one_request_erased_at_once_are_both_gone_from_it(
    threads: ThreadPoolExecutor, order: tuple[str, str]
) -> None:
    with transaction() as session:
        add_contract(session)
        accepted(session, asking(anne(), someone(BEA, "Bea", "Martin"), someone("zoe@example.com")))
    with transaction() as session:
        jobs = ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=9, lease=30, worker=new_id())
        ledger.finish(session, JOBS, do_jobs(session, jobs))
        session.execute(text("UPDATE enrollment SET progress = 'in_progress', started_at = now()"))  # no seat is shared
    with transaction() as first:
        assert do(first, ErasePerson(email=order[0], reason="x"))["code"] == Code.ERASED
        second = threads.submit(persistently, ErasePerson(email=order[1], reason="x"))
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30)["counts"]["requests"] == 1
    people: Any = rows("SELECT request -> 'people' FROM job")[0][0]
    assert [(one["email"], one["last_name"]) for one in people] == [("", ""), ("", ""), ("zoe@example.com", "Le Dû")]
    sound()


def invitation_with_a_dead_link() -> list[Claimed]:
    """Anne's invitation in a mailer's hands; to be sent it needs another link, and for that her account."""
    contract_with_anne()
    with transaction() as session:
        session.execute(text("UPDATE link SET expires_at = now() - interval '1 minute'"))
        found = [
            row
            for queue in (Queue.EMAILS, Queue.EMAILS_BULK)
            for row in ledger.claim(session, EMAILS, queue, size=9, lease=30, worker=new_id())
        ]
    assert len(found) == 1
    return found


def test_a_mailer_and_an_erasure_that_want_what_the_other_holds_do_not_deadlock(threads: ThreadPoolExecutor) -> None:
    """The mailer holds the mail and wants the account, the erasure the other way round: it gives way, at once."""
    mails = invitation_with_a_dead_link()
    with transaction() as mailer:
        held = ledger.hold(mailer, EMAILS, mails)
        second = threads.submit(persistently, ERASING)
        wait_until(lambda: rows(WAITING) == [(1,)])
        [letter] = read_letters(mailer, held)
        assert (letter.unsent, "link" in letter.context) == (None, True)
    assert second.result(30)["counts"]["mails"] == 1
    assert rows("SELECT count(*) FROM link WHERE voided_at IS NULL") == [(0,)]
    assert rows("SELECT to_address, context FROM email") == [("", None)]


def test_a_mail_whose_person_is_being_erased_waits_and_is_not_sent(threads: ThreadPoolExecutor) -> None:
    mails = invitation_with_a_dead_link()

    def read() -> list[Any]:
        with transaction() as mailer:
            return [letter.unsent for letter in read_letters(mailer, ledger.hold(mailer, EMAILS, mails))]

    with transaction() as first:
        do(first, ERASING)
        second = threads.submit(read)
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30) == [EmailState.CANCELLED]
    assert rows("SELECT count(*) FROM link WHERE voided_at IS NULL") == [(0,)]


def test_when_the_enrollment_gives_up_the_erasure_decides(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as session:
        add_contract(session, "C-2")
    with transaction() as first:
        enrolled(first, anne(), contract="C-2")
        second = threads.submit(persistently, ERASING)
        wait_until(lambda: rows(WAITING) == [(1,)])
        first.rollback()
    assert second.result(30)["counts"]["seats"] == 1
    sound()


def test_an_address_corrected_meanwhile_is_nobodys(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as correction:
        query(correction, "SELECT id FROM account FOR UPDATE")
        second = threads.submit(persistently, ERASING)
        wait_until(lambda: rows(WAITING) == [(1,)])
        query(correction, "UPDATE account SET email_norm = 'new@example.com' RETURNING id")
    assert second.result(30)["code"] == Code.NOT_FOUND
    assert rows(PEOPLE) == [("Anne", False)]
    assert rows("SELECT count(*) FROM link WHERE voided_at IS NULL") == [(1,)]


@pytest.mark.parametrize("order", [(ExportPerson.kind, ErasePerson.kind), (ErasePerson.kind, ExportPerson.kind)])
def test_an_export_at_the_same_moment_leaves_nothing_behind(
    threads: ThreadPoolExecutor, order: tuple[str, str]
) -> None:
    contract_with_anne()
    with transaction() as session:
        accepted(session, ERASING, "erase")
        accepted(session, ExportPerson(email=ANNE), "export")
    jobs = {row.columns["kind"]: row for row in claimed(Queue.MAINTENANCE)}
    with transaction() as first:
        finish(first, jobs[order[0]])
        second = threads.submit(finish_until_done, jobs[order[1]])
        wait_until(lambda: rows(WAITING) == [(1,)])
    second.result(30)
    answers = {"export_person": (None, "succeeded"), "erase_person": ("not_found", "refused")}
    assert rows("SELECT result ->> 'code', state FROM job WHERE kind = 'export_person'") == [answers[order[0]]]
    assert rows("SELECT result ->> 'code', state FROM job WHERE kind = 'erase_person'") == [("erased", "succeeded")]
    assert rows("SELECT count(*) FROM job WHERE CAST(job AS text) LIKE '%Lorval%'") == [(0,)]


def finish(session: Session, row: Claimed) -> None:
    """Does a claimed job and records its outcome, as its actor would."""
    ledger.finish(session, JOBS, do_jobs(session, ledger.hold(session, JOBS, [row])))


def finish_until_done(row: Claimed) -> None:
    pause = Event()
    while True:
        try:
            with transaction() as session:
                return finish(session, row)
        except Exception as error:
            if not is_transient(error):
                raise
        pause.wait(0.02)


def test_many_at_once_leave_seats_that_add_up_and_nothing_of_the_erased(threads: ThreadPoolExecutor) -> None:
    with transaction() as session:
        for reference in ("C-1", "C-2"):
            add_contract(session, reference, seats=40)
        people = enrolled(session, *[someone(f"p{number}@example.com") for number in range(20)])
    barrier = Barrier(4)

    def erase_all(order: int) -> None:
        barrier.wait(10)
        for number in range(20)[::order]:
            persistently(ErasePerson(email=f"p{number}@example.com", reason="x"))

    def enrol_all() -> None:
        barrier.wait(10)
        for number in range(20):
            persist(asking(someone(f"p{number}@example.com"), contract="C-2", policy=Policy.UNTIL_FULL))

    def begin_all() -> None:
        barrier.wait(10)
        for one in people:
            persistently(completing([one]))
            persistently(Withdraw(contract="C-1", enrollment_ids=[one]))

    runs = [threads.submit(erase_all, 1), threads.submit(erase_all, -1), threads.submit(enrol_all)]
    runs.append(threads.submit(begin_all))
    for run in runs:
        run.result(120)
    sound()
    assert rows("SELECT count(*) FROM account WHERE erased_at IS NOT NULL AND (first_name <> '' OR password_hash"
                " IS NOT NULL OR email_norm NOT LIKE '%@erased.invalid')") == [(0,)]  # fmt: skip
    assert rows("SELECT count(*) FROM certificate_holder h JOIN enrollment e ON e.id = h.enrollment_id"
                " WHERE e.progress <> 'completed'") == [(0,)]  # fmt: skip
