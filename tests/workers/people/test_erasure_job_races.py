"""An erasure beside jobs and mails of the same people: nothing about them is sent, exported or kept."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Code, EmailState
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    someone,
)
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.erasure import (
    ANNE,
    ERASING,
    anne,
    assert_no_trace_left,
    contract_with_anne,
    do,
    do_until_done,
)
from tests.kit.races.racers import until_done, waiting_for_a_lock
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS, JOBS, ClaimedRow, MailColumns
from workers.mail.letters.writing import write_letters
from workers.requests.accounts import ErasePerson, ExportPerson
from workers.requests.queues import Queue

BEA = "bea@example.com"


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
        second = threads.submit(do_until_done, ErasePerson(email=order[1], reason="x"))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30)["counts"]["requests"] == 1
    people: Any = rows("SELECT request -> 'people' FROM job")[0][0]
    assert [(one["email"], one["last_name"]) for one in people] == [("", ""), ("", ""), ("zoe@example.com", "Le Dû")]
    assert_no_trace_left()


def invitation_with_a_dead_link() -> list[ClaimedRow[MailColumns]]:
    """Claims Anne's invitation for a mailer; sending it needs a new link, and so a lock on her account."""
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


def test_a_mailer_and_an_erasure_with_crossed_locks_do_not_deadlock(threads: ThreadPoolExecutor) -> None:
    """The mailer holds the mail and needs the account, the erasure holds the account and needs the mail: the mailer
    gives way at once.
    """
    mails = invitation_with_a_dead_link()
    with transaction() as mailer:
        held = ledger.hold(mailer, EMAILS, mails)
        second = threads.submit(do_until_done, ERASING)
        wait_until(waiting_for_a_lock(1))
        [letter] = write_letters(mailer, held)
        assert (letter.unsent, "link" in letter.context) == (None, True)
    assert second.result(30)["counts"]["mails"] == 1
    assert rows("SELECT count(*) FROM link WHERE voided_at IS NULL") == [(0,)]
    assert rows("SELECT to_address, context FROM email") == [("", None)]


def test_a_mail_whose_person_is_being_erased_waits_and_is_not_sent(threads: ThreadPoolExecutor) -> None:
    mails = invitation_with_a_dead_link()

    def read() -> list[Any]:
        with transaction() as mailer:
            return [letter.unsent for letter in write_letters(mailer, ledger.hold(mailer, EMAILS, mails))]

    with transaction() as first:
        do(first, ERASING)
        second = threads.submit(read)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == [EmailState.CANCELLED]
    assert rows("SELECT count(*) FROM link WHERE voided_at IS NULL") == [(0,)]


@pytest.mark.parametrize("order", [(ExportPerson.kind, ErasePerson.kind), (ErasePerson.kind, ExportPerson.kind)])
def test_an_export_at_the_same_moment_leaves_nothing_behind(
    threads: ThreadPoolExecutor, order: tuple[str, str]
) -> None:
    contract_with_anne()
    with transaction() as session:
        accepted(session, ERASING, "erase")
        accepted(session, ExportPerson(email=ANNE), "export")
    jobs = {row.columns.kind: row for row in claimed(Queue.MAINTENANCE)}
    with transaction() as first:
        finish(first, jobs[order[0]])
        second = threads.submit(finish_until_done, jobs[order[1]])
        wait_until(waiting_for_a_lock(1))
    second.result(30)
    answers = {"export_person": (None, "succeeded"), "erase_person": ("not_found", "refused")}
    assert rows("SELECT result ->> 'code', state FROM job WHERE kind = 'export_person'") == [answers[order[0]]]
    assert rows("SELECT result ->> 'code', state FROM job WHERE kind = 'erase_person'") == [("erased", "succeeded")]
    assert rows("SELECT count(*) FROM job WHERE CAST(job AS text) LIKE '%Lorval%'") == [(0,)]


def finish(session: Session, row: ClaimedRow) -> None:
    """Does a claimed job and records its outcome as its actor does."""
    ledger.finish(session, JOBS, do_jobs(session, ledger.hold(session, JOBS, [row])))


def finish_until_done(row: ClaimedRow) -> None:
    until_done(lambda session: finish(session, row))
