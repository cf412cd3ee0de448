"""The fence of claimed rows in races: a statement that had to wait judges each row as it is when the wait ends."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from tests.kit.builders.ledgers import (
    DONE,
    WAITING_FOR_A_LOCK,
    both,
    claim,
    failed_attempt,
    finished,
    look,
    owe,
)
from tests.kit.processes.support import rows, wait_until
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.ledger import Claimed, ClaimedRow, Ledger, LostClaimError

Rows = Sequence[ClaimedRow[Claimed]]
Step = Callable[[Session, Ledger[Claimed], Rows], Any]

VERBS: dict[str, Step] = {
    "hold": books.hold,
    "renew": lambda session, ledger, mine: list(books.renew(session, ledger, mine, lease=600)),
    "finish": lambda session, ledger, mine: books.finish(session, ledger, finished(ledger, mine)),
    "set_back": lambda session, ledger, mine: books.set_back(
        session, ledger, [failed_attempt(ledger, row, "retry", 600) for row in mine]
    ),
    "give_back": books.give_back,
}
each_verb = pytest.mark.parametrize("verb", VERBS)


def _claimed(ledger: Ledger[Claimed], *, lease: float) -> list[ClaimedRow[Claimed]]:
    """Returns two claimed rows, committed."""
    with transaction() as session:
        for _ in range(2):
            owe(session, ledger)
        return list(claim(session, ledger, lease=lease))


def _waits_for(first: Callable[[Session], Any], verb: str, ledger: Ledger[Claimed], mine: Rows) -> Any:
    """Does a step, lets the verb wait for its locks, then commits the step; returns the answer of the verb."""

    def second() -> Any:
        with transaction() as session:
            return VERBS[verb](session, ledger, mine)

    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            first(session)
            waiting = pool.submit(second)
            wait_until(lambda: rows(WAITING_FOR_A_LOCK))
        return waiting.result(30)


def _states(ledger: Ledger[Claimed], ids: Sequence[UUID]) -> list[tuple[object, object, object]]:
    with transaction() as session:
        seen = [look(session, ledger, row_id) for row_id in ids]
    return [(one["state"], one["claim"], one["leased_for"] is not None) for one in seen]


@each_verb
@both
def test_rows_rescued_while_a_statement_waited_are_no_longer_ours(
    fresh_database: str, ledger: Ledger[Claimed], verb: str
) -> None:
    mine = _claimed(ledger, lease=-1)
    ids = [row.id for row in mine]
    if verb == "finish":
        with pytest.raises(LostClaimError):
            _waits_for(lambda session: books.rescue(session, ledger), verb, ledger, mine)
    else:
        assert not _waits_for(lambda session: books.rescue(session, ledger), verb, ledger, mine)
    assert _states(ledger, ids) == [(ledger.waiting, 1, False)] * 2
    assert rows("SELECT outcome FROM job_attempt WHERE row_id = ANY(:ids)", ids=ids) == [("rescued",)] * 2


@each_verb
@both
def test_rows_claimed_again_while_a_statement_waited_belong_to_the_other(
    fresh_database: str, ledger: Ledger[Claimed], verb: str
) -> None:
    mine = _claimed(ledger, lease=-1)

    def rescue_and_claim(session: Session) -> None:
        books.rescue(session, ledger)
        assert len(claim(session, ledger, lease=60)) == 2

    if verb == "finish":
        with pytest.raises(LostClaimError):
            _waits_for(rescue_and_claim, verb, ledger, mine)
    else:
        assert not _waits_for(rescue_and_claim, verb, ledger, mine)
    assert _states(ledger, [row.id for row in mine]) == [(ledger.running, 2, True)] * 2


@each_verb
@both
def test_rows_renewed_while_a_statement_waited_are_still_ours(
    fresh_database: str, ledger: Ledger[Claimed], verb: str
) -> None:
    mine = _claimed(ledger, lease=60)
    _waits_for(lambda session: books.renew(session, ledger, mine, lease=120), verb, ledger, mine)
    ended = {"finish": (DONE[ledger.table], 1, False), "hold": (ledger.running, 1, True)}
    ended |= {"renew": ended["hold"], "set_back": (ledger.waiting, 1, False), "give_back": (ledger.waiting, 1, False)}
    assert _states(ledger, [row.id for row in mine]) == [ended[verb]] * 2


@both
def test_rows_being_finished_are_not_rescued(fresh_database: str, ledger: Ledger[Claimed]) -> None:
    mine = _claimed(ledger, lease=-1)
    with transaction() as session:
        books.finish(session, ledger, finished(ledger, mine))
        with transaction() as clock:
            assert books.rescue(clock, ledger) == []
    with transaction() as clock:
        assert books.rescue(clock, ledger) == []
    assert _states(ledger, [row.id for row in mine]) == [(DONE[ledger.table], 1, False)] * 2
