"""Resets requested at the same moment, and workers that die half-way: one result, and never a dead link in a mail."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import EmailState
from tests.kit.builders.accounts import keys
from tests.kit.builders.password_links import (
    Asked,
    answers,
    ask,
    claim,
    enrolled,
    resend,
    reset,
    work,
)
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import waiting_for_a_lock
from workers import database
from workers.access import resend_jobs
from workers.access.passwords import choose_password
from workers.actors.registry import do_jobs
from workers.database import Session, is_lock_timeout, transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import (
    EMAILS,
    JOBS,
    ClaimedRow,
    WorkOutcome,
)
from workers.mail.letters.writing import write_letters
from workers.requests.accounts import RequestPasswordReset
from workers.requests.queues import Queue
from workers.security.link_views import LinkView, look_at_link


@pytest.fixture
def patient(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes sessions wait for locks, so that the second of two comes second instead of failing and
    coming back later.
    """
    monkeypatch.setattr(resend_jobs, "wait_briefly_for_locks", lambda session: None)


def people(*names: str, activated: bool = True, contract: str = "C-1") -> list[UUID]:
    with transaction() as session:
        return enrolled(session, *names, activated=activated, contract=contract)


def do(request: Asked) -> list[str]:
    with transaction() as session:
        return answers(session, request)


def tokens() -> list[str]:
    """Returns the links of all owed mails as a mailer would write them now."""
    with transaction() as session:
        claimed = ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())
        letters = write_letters(session, claimed)
    assert not any(letter.unsent for letter in letters)
    return [letter.context["link"].rpartition("/")[2] for letter in letters]


@pytest.mark.parametrize("activated", [True, False])
def test_two_asked_at_once_are_two_mails_with_the_same_live_link(
    patient: None, threads: ThreadPoolExecutor, activated: bool
) -> None:
    (anne,) = people("anne", activated=activated)
    with transaction() as first:
        mailed = answers(first, reset(anne))
        second = threads.submit(do, reset(anne))
        wait_until(waiting_for_a_lock(1))
        first.commit()
        assert second.result() == mailed
    one, other = tokens()
    assert one == other
    with transaction() as session:
        assert isinstance(look_at_link(session, keys(), one), LinkView)
        assert isinstance(choose_password(session, keys(), other, "new"), LinkView)


@pytest.mark.parametrize("times", [2, 3])
def test_two_processes_count_the_same(patient: None, threads: ThreadPoolExecutor, times: int) -> None:
    (anne,) = people("anne")
    for _ in range(times - 1):
        do(reset(anne))
    with transaction() as first:
        assert answers(first, reset(anne)) == ["sent"]
        second = threads.submit(do, reset(anne))
        wait_until(waiting_for_a_lock(1))
        first.commit()
        assert second.result() == (["sent"] if times == 2 else ["throttled"])
    assert rows("SELECT count(*) FROM throttle WHERE scope = 'password_reset:account'") == [(3,)]


def test_two_of_one_company_count_the_same(patient: None, threads: ThreadPoolExecutor) -> None:
    """The two requests share no person, and yet the second waits until the first has counted."""
    anne, zoe = people("anne", "zoe")
    with transaction() as first:
        answers(first, reset(anne))
        second = threads.submit(do, reset(zoe))
        wait_until(waiting_for_a_lock(1))
        first.commit()
        assert second.result() == ["sent"]
    assert rows("SELECT scope, sum(times) FROM throttle GROUP BY scope ORDER BY scope") == [
        ("password_reset:account", 2), ("password_reset:address", 2),
        ("password_reset:company", 2), ("password_reset:portal", 2)]  # fmt: skip


def test_the_same_address_asked_for_at_once_is_counted_once_each(fresh_database: str) -> None:
    with transaction() as session:
        for _ in range(8):
            ask(session, RequestPasswordReset(email="anne@example.com"))
    work()
    assert rows("SELECT count(*) FROM job WHERE kind = 'send_password_reset'") == [(3,)]


def test_a_lock_on_the_account_is_not_waited_for_long(fresh_database: str, threads: ThreadPoolExecutor) -> None:
    (anne,) = people("anne")
    with transaction() as holder:
        holder.execute(text("SELECT 1 FROM account FOR UPDATE"))
        with pytest.raises(Exception) as refused:  # noqa: PT011 - whatever the driver calls it
            do(reset(anne))
        assert is_lock_timeout(refused.value)
    assert do(reset(anne)) == ["sent"]


@pytest.mark.parametrize("reset_first", [True, False])
def test_a_reset_and_an_activation_at_the_same_moment(
    patient: None, threads: ThreadPoolExecutor, reset_first: bool
) -> None:
    (luc,) = people("luc", activated=False)
    do(resend(luc))
    (token,) = tokens()

    def choose() -> object:
        with transaction() as session:
            return choose_password(session, keys(), token, "chosen")

    with transaction() as first:
        if reset_first:
            assert answers(first, reset(luc)) == ["activation_sent_instead"]
            other = threads.submit(choose)
        else:
            assert isinstance(choose_password(first, keys(), token, "chosen"), LinkView)
            other = threads.submit(do, reset(luc))
        wait_until(waiting_for_a_lock(1))
        first.commit()
        result = other.result()
    with transaction() as session:
        claimed = ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())
        [letter] = write_letters(session, claimed)
    if reset_first:  # the link was used, so its mail is useless
        assert isinstance(result, LinkView)
        assert letter.unsent is EmailState.CANCELLED
    else:  # the account has a password now, which can be reset
        assert (result, letter.row.columns.kind) == (["sent"], "password_reset")
    assert rows("SELECT password_hash FROM account") == [("chosen",)]


def test_people_in_opposite_orders_do_not_deadlock(patient: None, threads: ThreadPoolExecutor) -> None:
    ids = people(*(f"p{number:02}" for number in range(40)))
    done = [threads.submit(do, reset(*(ids if number % 2 else reversed(ids)))) for number in range(4)]
    assert [Counter(one.result()) for one in done].count(Counter(sent=40)) == 3  # the fourth is over the limit
    assert rows("SELECT count(*) FROM link WHERE purpose = 'password_reset'") == [(40,)]


# Half-way


class DiedError(Exception):
    """The worker died."""


REQUESTS: dict[str, Callable[[list[UUID]], Asked]] = {
    "reset": lambda ids: reset(*ids),
    "resend": lambda ids: resend(*ids),
    "request": lambda ids: RequestPasswordReset(email="anne@example.com"),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_failed_half_way_nothing_is_left_and_done_again_it_owes_one_mail(fresh_database: str, kind: str) -> None:
    ids = people("anne", "zoe", activated=kind != "resend")
    with transaction() as session:
        job_id = ask(session, REQUESTS[kind](ids))
    looked_at = (
        "SELECT (SELECT count(*) FROM email), (SELECT count(*) FROM throttle), (SELECT sum(resent) FROM link),"
        " (SELECT count(*) FROM link), (SELECT count(*) FROM job), (SELECT count(*) FROM job_person)"
    )
    before = rows(looked_at)

    def die(session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        do_jobs(session, held)
        raise DiedError

    with transaction() as session:
        claimed = claim(session)
    BatchRun(JOBS, die).run(claimed)
    assert rows(looked_at) == before
    assert rows("SELECT state, failures FROM job WHERE id = :id", id=job_id) == [("queued", 1)]
    while rows("SELECT 1 FROM job WHERE finished_at IS NULL"):
        with transaction() as session:
            session.execute(text("UPDATE job SET due_at = now() WHERE due_at IS NOT NULL"))
        work()
    expected = 1 if kind == "request" else 2
    assert rows("SELECT count(*) FROM email") == [(expected,)]
    assert rows("SELECT state FROM job WHERE id = :id", id=job_id) == [("succeeded",)]


def test_a_job_of_a_worker_killed_in_its_transaction_is_done_once(fresh_database: str) -> None:
    anne, zoe = people("anne", "zoe")
    with transaction() as session:
        ask(session, reset(anne, zoe))
    with transaction() as session:
        claimed = claim(session)
    session = Session(database.get_engine())
    ledger.hold(session, JOBS, claimed)
    assert [outcome.state for outcome in do_jobs(session, claimed)] == ["succeeded"]
    [(pid,)] = session.execute(text("SELECT pg_backend_pid()")).all()
    with transaction() as killer:
        killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    session.invalidate()
    session.close()
    assert rows("SELECT count(*) FROM email") == [(0,)]
    with transaction() as rescuer:
        rescuer.execute(
            text("UPDATE job SET leased_until = now() - interval '1 second' WHERE leased_until IS NOT NULL")
        )
        assert len(ledger.rescue(rescuer, JOBS)) == 1
    work()
    assert rows("SELECT count(*) FROM email") == [(2,)]
    BatchRun(JOBS, do_jobs).run(claimed)  # the worker that seemed dead wakes up
    assert rows("SELECT count(*), (SELECT count(*) FROM throttle) FROM email") == [(2, 6)]
