"""A detachment beside other work at the same moment: real sessions, both orders, the same result."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest

from models.withdrawal import DetachmentStep
from models.words import Code, EmailKind, JobState, Progress
from tests.kit.builders.accounts import PASSWORD, keys, make_link
from tests.kit.builders.attachments import (
    Attached,
    attach,
    enrollment_state,
    letters,
    token_of,
)
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    enrol,
    query,
    seats,
    someone,
)
from tests.kit.processes.support import change, rows, wait_until
from tests.kit.races.racers import (
    do,
    do_until_done,
    enrol_until_done,
    progress_of,
    until_done,
    waiting_for_a_lock,
)
from workers.access.passwords import choose_password
from workers.database import transaction
from workers.ops.reconciliation import find_drift
from workers.people.detachment import detach
from workers.requests.base import Request
from workers.requests.enrollment import Withdraw
from workers.security.link_views import LinkView

# Longer than the 250 ms that others wait for a lock.
WAITING_LONG = """
    SELECT count(*) FROM pg_locks l JOIN pg_stat_activity USING (pid) WHERE datname = current_database()
      AND NOT l.granted AND l.waitstart < clock_timestamp() - interval '400 ms'"""


def attached(*, activated: bool = True) -> Attached:
    with transaction() as session:
        return attach(session, activated=activated)


def detach_until_done(token: str) -> DetachmentStep | Code:
    """Presses the button again when the page says to come back in a minute."""
    return until_done(lambda session: detach(session, keys(), token))


def truth(anne: Attached) -> tuple[object, ...]:
    with transaction() as session:
        assert find_drift(session) == []
        return enrollment_state(session, anne.enrollment_id)


def withdrawing(*enrollments: UUID) -> Withdraw:
    return Withdraw(contract="C-2", enrollment_ids=list(enrollments))


def test_progress_that_arrives_during_a_detachment_finds_the_person_gone(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    with transaction() as first:
        assert detach(first, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK
        second = threads.submit(do_until_done, progress_of([anne.enrollment_id]))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == (JobState.REFUSED, {"detached": 1})
    assert truth(anne) == ("not_started", True, True, 0, 0, 1, 1)


def test_a_detachment_that_arrives_during_progress_leaves_the_seat_used(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    with transaction() as first:
        assert do(first, progress_of([anne.enrollment_id], Progress.IN_PROGRESS)) == (
            JobState.SUCCEEDED,
            {"recorded": 1},
        )
        second = threads.submit(detach_until_done, anne.token)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) is DetachmentStep.KEEP_SEAT
    assert truth(anne) == ("in_progress", False, True, 1, 1, 1, 1)


def test_a_withdrawal_during_a_detachment_moves_no_second_seat(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    with transaction() as first:
        assert detach(first, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK
        second = threads.submit(do_until_done, withdrawing(anne.enrollment_id))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == (JobState.REFUSED, {"detached": 1})
    assert truth(anne) == ("not_started", True, True, 0, 0, 1, 1)
    assert rows("SELECT count(*) FROM email WHERE kind = 'withdrawal'") == [(0,)]


def test_a_detachment_that_arrives_during_a_withdrawal_finds_nothing_left(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    with transaction() as first:
        assert do(first, withdrawing(anne.enrollment_id)) == (JobState.SUCCEEDED, {"withdrawn": 1})
        second = threads.submit(detach_until_done, anne.token)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) is DetachmentStep.NOTHING_LEFT
    assert truth(anne) == ("not_started", True, False, 0, 0, 0, 0)
    assert rows("SELECT count(*) FROM email WHERE kind = 'withdrawal' AND state = 'owed'") == [(1,)]


@pytest.mark.parametrize("loser", ["withdraw", "progress"])
def test_when_the_first_gives_up_the_detachment_decides(threads: ThreadPoolExecutor, loser: str) -> None:
    anne = attached()
    ids = [anne.enrollment_id]
    with transaction() as first:
        do(first, withdrawing(*ids) if loser == "withdraw" else progress_of(ids))
        second = threads.submit(detach_until_done, anne.token)
        wait_until(waiting_for_a_lock(1))
        first.rollback()
    assert second.result(30) is DetachmentStep.GIVE_SEAT_BACK
    assert truth(anne) == ("not_started", True, True, 0, 0, 1, 1)


def test_when_the_detachment_gives_up_the_withdrawal_decides(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    with transaction() as first:
        detach(first, keys(), anne.token)
        second = threads.submit(do_until_done, withdrawing(anne.enrollment_id))
        wait_until(waiting_for_a_lock(1))
        first.rollback()
    assert second.result(30) == (JobState.SUCCEEDED, {"withdrawn": 1})
    assert truth(anne) == ("not_started", True, False, 0, 0, 0, 0)


def test_the_seat_given_back_goes_to_who_waits_for_it(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    change("UPDATE contract SET planned_seats = 1 WHERE reference = 'C-2'")
    with transaction() as first:
        detach(first, keys(), anne.token)
        second = threads.submit(enrol_until_done, asking("luc", contract="C-2"))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == ["enrolled"]
    with transaction() as session:
        assert (find_drift(session), seats(session, "C-2")) == ([], 1)


def test_a_roster_is_waited_for_longer_than_a_moment(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    with transaction() as first:
        enrol(first, asking("luc", contract="C-2"))
        second = threads.submit(lambda: _once(anne.token))
        wait_until(lambda: rows(WAITING_LONG) == [(1,)])
    assert second.result(30) is DetachmentStep.GIVE_SEAT_BACK
    assert truth(anne)[3:5] == (1, 1)


def _once(token: str) -> DetachmentStep | Code:
    with transaction() as session:
        return detach(session, keys(), token)


def test_a_password_chosen_meanwhile_prevents_no_detachment(threads: ThreadPoolExecutor) -> None:
    anne = attached(activated=False)
    change("UPDATE link SET consumed_at = now() WHERE purpose = 'activation'")
    with transaction() as session:
        _, activation = make_link(session, anne.account_id)
    with transaction() as first:
        assert isinstance(choose_password(first, keys(), activation, PASSWORD), LinkView)
        second = threads.submit(detach_until_done, anne.token)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) is DetachmentStep.GIVE_SEAT_BACK


def test_an_address_corrected_meanwhile_voids_the_link_of_the_old_one(threads: ThreadPoolExecutor) -> None:
    anne = attached()
    with transaction() as correction:
        query(correction, "SELECT id FROM account FOR UPDATE")
        second = threads.submit(detach_until_done, anne.token)
        wait_until(waiting_for_a_lock(1))
        query(correction, "UPDATE link SET voided_at = now() WHERE purpose = 'not_me' RETURNING id")
    assert second.result(30) is Code.INVALID_LINK
    assert truth(anne)[1:3] == (False, False)


def test_many_at_once_leave_one_truth_each(threads: ThreadPoolExecutor) -> None:
    people = [someone(f"p{number}@example.com") for number in range(30)]
    with transaction() as session:
        add_contract(session, seats=30)
        add_contract(session, "C-2", seats=30, company="autre")
        enrol(session, asking(*people))
        query(session, "UPDATE account SET activated_at = now() RETURNING id")
        query(session, "DELETE FROM email RETURNING id")
        answer = enrol(session, asking(*people, contract="C-2"))[0]
        tokens = [token_of(one) for one in letters(session) if one.kind is EmailKind.ATTACHMENT]
    enrollments = [one for person in answer.people if (one := person.enrollment_id)]
    barrier = Barrier(4)

    def detaching(mine: list[str]) -> list[DetachmentStep | Code]:
        barrier.wait(10)
        return [detach_until_done(token) for token in mine]

    def asked(request: Request) -> dict[str, int]:
        barrier.wait(10)
        return do_until_done(request)[1]

    first, second = threads.submit(detaching, tokens), threads.submit(detaching, tokens[::-1])
    withdrawn = threads.submit(asked, withdrawing(*enrollments[:20]))
    begun = threads.submit(asked, progress_of(enrollments[10:], Progress.IN_PROGRESS))
    answers = [*first.result(60), *second.result(60)]
    withdrawn.result(60), begun.result(60)
    detached = sum(answer in (DetachmentStep.GIVE_SEAT_BACK, DetachmentStep.KEEP_SEAT) for answer in answers)
    with transaction() as session:
        assert find_drift(session) == []
        assert query(session, "SELECT count(detached_at) FROM enrollment") == [(detached,)]
        assert query(session, "SELECT count(*) FROM audit WHERE action = 'detach'") == [(detached,)]
        assert query(session, "SELECT count(*) FROM enrollment WHERE withdrawn_at IS NOT NULL"
                              " AND progress <> 'not_started'") == [(0,)]  # fmt: skip
        [(gone,)] = query(session, "SELECT count(withdrawn_at) FROM enrollment")
        assert seats(session, "C-2") == 30 - gone
    assert rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
