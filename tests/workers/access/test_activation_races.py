"""A person activates their account while a reminder or a seat release runs: real sessions, both orders, the same
result.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from models.words import Code, EmailState, JobState
from tests.kit.builders.accounts import keys, token_of
from tests.kit.builders.contracts import add_contract, enrolled
from tests.kit.builders.invited_people import (
    change_contract,
    claim,
    deliver,
    later,
    letters,
    owe,
)
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import until_done, waiting_for_a_lock
from workers.access.passwords import choose_password
from workers.actors.registry import do_jobs
from workers.database import Session, is_transient, transaction
from workers.engine import ledger
from workers.engine.ledger import JOBS, ClaimedRow
from workers.ops.reconciliation import find_drift
from workers.requests.internal import PlanReleases, SendReminders
from workers.security.link_views import LinkView

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def prepare(days: float, job: SendReminders | PlanReleases) -> str:
    """Invites Anne this many days ago, warns her if it is time, and owes a job. Returns the token of her link."""
    with transaction() as session:
        add_contract(session)
        change_contract(session, release_after_days=30)
        enrolled(session, "anne")
        session.execute(text("UPDATE link SET expires_at = now() + interval '60 days'"))
        deliver(session)
        later(session, min(days, 23))
        if days > 23:
            owe(session, PlanReleases())
    if days > 23:
        do_until_done("plan_releases")
    with transaction() as session:
        deliver(session)
        later(session, max(0, days - 23))
        owe(session, job)
        ((link_id, account_id),) = session.execute(text("SELECT id, account_id FROM link"))
    return token_of(link_id, account_id)


def do(session: Session, taken: list[ClaimedRow]) -> None:
    ledger.finish(session, JOBS, do_jobs(session, taken))


def take() -> list[ClaimedRow]:
    with transaction() as session:
        return claim(session)


def persist(taken: list[ClaimedRow]) -> None:
    """Does claimed jobs in their own transactions, and again after each transient fault."""
    until_done(lambda session: do(session, taken))


def do_until_done(kind: str) -> None:
    """Does the due jobs until the last one of this kind is done."""
    while taken := take():
        persist(taken)
        assert taken[0].columns.kind == kind


def release() -> list[ClaimedRow]:
    """Returns the claimed job that releases Anne's seat."""
    while taken := take():
        if taken[0].columns.kind == "release_seats":
            return taken
        persist(taken)
    raise AssertionError("no release is owed")


def activate(token: str) -> LinkView | Code:
    with transaction() as session:
        return choose_password(session, keys(), token, "hash")


def test_a_reminder_that_meets_an_activation_is_not_sent(threads: ThreadPoolExecutor) -> None:
    token = prepare(2, SendReminders())
    taken = take()
    with transaction() as first:
        assert isinstance(choose_password(first, keys(), token, "hash"), LinkView)
        second = threads.submit(persist, taken)
        wait_until(waiting_for_a_lock(1))
    second.result(30)
    assert rows("SELECT count(*) FROM email WHERE kind = 'reminder'") == [(0,)]
    assert rows("SELECT count(next_reminder_at) FROM enrollment") == [(0,)]


def test_an_activation_that_meets_a_reminder_has_it_dropped(threads: ThreadPoolExecutor) -> None:
    token = prepare(2, SendReminders())
    taken = take()
    with transaction() as first:
        do(first, taken)
        second = threads.submit(activate, token)
        wait_until(waiting_for_a_lock(1))
    assert isinstance(second.result(30), LinkView)
    assert rows("SELECT count(*), count(n.next_reminder_at) FROM email e JOIN enrollment n ON n.id = e.enrollment_id"
                " WHERE kind = 'reminder'") == [(1, 0)]  # fmt: skip
    with transaction() as session:
        [letter] = letters(session)
    assert letter.unsent is EmailState.CANCELLED


SEAT = """
    SELECT (SELECT enrolled_count FROM contract), count(withdrawn_at), (SELECT count(activated_at) FROM account),
      (SELECT count(*) FROM email WHERE kind = 'release') FROM enrollment"""


def test_a_release_that_meets_an_activation_leaves_the_seat(threads: ThreadPoolExecutor) -> None:
    token = prepare(30, PlanReleases())
    taken = release()
    with transaction() as first:
        assert isinstance(choose_password(first, keys(), token, "hash"), LinkView)
        second = threads.submit(persist, taken)
        wait_until(waiting_for_a_lock(1))
    second.result(30)
    assert rows(SEAT) == [(1, 0, 1, 0)]
    result: Any = rows("SELECT state, result FROM job WHERE kind = 'release_seats'")[0]
    assert (result[0], result[1]["counts"]) == (JobState.REFUSED, {"already_activated": 1})
    with transaction() as session:
        assert find_drift(session) == []


def test_an_activation_that_meets_a_release_works_and_opens_no_training(threads: ThreadPoolExecutor) -> None:
    token = prepare(30, PlanReleases())
    taken = release()
    with transaction() as first:
        do(first, taken)
        second = threads.submit(activate, token)
        wait_until(waiting_for_a_lock(1))
    assert isinstance(second.result(30), LinkView)
    assert rows(SEAT) == [(0, 1, 1, 1)]
    with transaction() as session:
        assert find_drift(session) == []
    assert rows(DEADLOCKS) == [(0,)]


def test_a_warning_that_meets_an_activation_is_not_owed(threads: ThreadPoolExecutor) -> None:
    token = prepare(23, PlanReleases())
    persist(take())
    taken = take()
    with transaction() as first:
        assert isinstance(choose_password(first, keys(), token, "hash"), LinkView)
        second = threads.submit(persist, taken)
        wait_until(waiting_for_a_lock(1))
    second.result(30)
    assert rows("SELECT count(release_warned_at) FROM enrollment") == [(0,)]
    assert rows("SELECT count(*) FROM email WHERE kind = 'release_warning'") == [(0,)]


def test_no_one_is_warned_under_an_option_that_is_being_changed(threads: ThreadPoolExecutor) -> None:
    prepare(23, PlanReleases())
    persist(take())
    taken = take()
    with transaction() as first:
        change_contract(first, release_after_days=None)
        second = threads.submit(persist, taken)
        wait_until(waiting_for_a_lock(1))
    second.result(30)
    assert rows("SELECT count(release_warned_at) FROM enrollment") == [(0,)]
    assert rows("SELECT count(*) FROM email WHERE kind = 'release_warning'") == [(0,)]


def test_an_option_changed_while_people_are_warned_forgets_it(threads: ThreadPoolExecutor) -> None:
    prepare(23, PlanReleases())
    persist(take())
    taken = take()

    def lengthen() -> None:
        pause = Event()
        while True:
            try:
                with transaction() as session:
                    return change_contract(session, release_after_days=60)
            except Exception as error:
                if not is_transient(error):
                    raise
            pause.wait(0.02)

    with transaction() as first:
        do(first, taken)
        second = threads.submit(lengthen)
        wait_until(waiting_for_a_lock(1))
    second.result(30)
    assert rows("SELECT count(release_warned_at) FROM enrollment") == [(0,)]
    with transaction() as session:
        assert [letter.unsent for letter in letters(session)] == [EmailState.CANCELLED]


@pytest.mark.parametrize(
    ("days", "job", "kind"),
    [(2, SendReminders(), "reminder"), (23, PlanReleases(), "release_warning"), (30, PlanReleases(), "release")],
)
def test_an_address_corrected_meanwhile_is_the_one_that_is_told(
    threads: ThreadPoolExecutor, days: float, job: SendReminders | PlanReleases, kind: str
) -> None:
    prepare(days, job)
    taken = take() if kind == "reminder" else release() if kind == "release" else None
    if taken is None:
        persist(take())
        taken = take()
    with transaction() as correction:
        correction.execute(text("SELECT id FROM account FOR UPDATE"))
        second = threads.submit(persist, taken)
        wait_until(waiting_for_a_lock(1))
        correction.execute(text("UPDATE account SET email_norm = 'new@example.com'"))
    second.result(30)
    assert rows("SELECT to_address FROM email WHERE kind = :kind", kind=kind) == [("new@example.com",)]
