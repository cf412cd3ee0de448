"""Says what the frozen set of an action holds: by kind, error and contract, with the seats that a retry would need."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col

from models.ops_action import MOST_ROWS, ActionVerb, OpsAction
from workers.database import Session
from workers.engine.ledger import LEDGERS
from workers.ops.actions_sql import DESCRIBE
from workers.requests.enrollment import Enroll
from workers.sql import fetch, fetch_one, select_record

SHOWN_CONTRACTS: Final = 20
"""The most contracts, errors and kinds that are listed of a set, those with the most rows first."""

PAGE: Final = 50
"""Rows of an action on one page."""

# Adds up the people whom the enrolments of a set name, by contract, with the seats that are left there. The people are
# counted in the text, because the json operators of PostgreSQL fail on a U+0000 anywhere in it.
COUNT_SEATS: Final = text(f"""
    SELECT s.contract, po.name AS portal, co.name AS company, s.jobs, s.people,
      c.planned_seats - c.enrolled_count AS seats_left
    FROM (
      SELECT t.portal_id, coalesce(substring(CAST(t.request AS text), '"contract" ?: ?"([^"]*)"'), '') AS contract,
        count(*) AS jobs, CAST(sum(CASE WHEN t.kind = '{Enroll.kind}' THEN
          named ELSE 0 END) AS bigint) AS people
      FROM (
        SELECT j.portal_id, j.kind, j.request, (length(CAST(j.request AS text))
          - length(replace(CAST(j.request AS text), '"email"', ''))) / 7 AS named
        FROM ops_action_row r JOIN job j ON j.id = ANY(ARRAY[r.row_id])
        WHERE r.action_id = :action AND r.ledger = 'job' AND j.request IS NOT NULL) t
      GROUP BY 1, 2) s
    JOIN portal po ON po.id = s.portal_id
    LEFT JOIN contract c ON c.portal_id = s.portal_id AND c.reference = s.contract
    LEFT JOIN company co ON co.id = c.company_id
    WHERE s.contract <> '' ORDER BY s.jobs DESC, s.contract LIMIT :limit""")

# Lists the rows of an action in the order in which they are changed, from one on; all, or those with one end.
LIST_ROWS: Final = text("""
    SELECT r.row_id, r.ledger, r.state, r.outcome, r.why, r.acted_at FROM ops_action_row r
    WHERE r.action_id = :action AND r.row_id > :after
      AND (CAST(:outcome AS text) = '' OR coalesce(r.outcome, 'waiting') = :outcome)
    ORDER BY r.row_id LIMIT :limit""")


class _Group(NamedTuple):
    ledger: str
    kind: str
    state: str
    trouble: str
    contract: str
    kept: bool
    rows: int
    oldest: datetime | None


class ShownSet(NamedTuple):
    """The rows of an action, before anything is changed.

    Parameters:
      more: there are more rows like these; they are not in the set.
      not_kept: rows that can no longer be retried, because what they asked for is no longer kept.
      by_kind, by_error, by_contract: the numbers of rows, the most frequent first.
    """

    action: UUID
    verb: str
    expected: int
    more: bool
    not_kept: int
    oldest: datetime | None
    by_kind: dict[str, int]
    by_error: dict[str, int]
    by_contract: dict[str, int]


class SetAction(NamedTuple):
    """The action that a set belongs to."""

    id: UUID
    verb: str
    expected: int


class ContractSeatsNeeded(NamedTuple):
    """The part of a set that is about one contract.

    Parameters:
      company, seats_left: None when the portal has no such contract (any more).
      people: the people whom its enrolments name; each needs a seat at most.
    """

    contract: str
    portal: str
    company: str | None
    jobs: int
    people: int
    seats_left: int | None


class SetRow(NamedTuple):
    """One row of an action and its end; `outcome` is None while its turn has not come."""

    row_id: UUID
    ledger: str
    state: str
    outcome: str | None
    why: str | None
    acted_at: datetime | None


def describe_set(session: Session, action: SetAction) -> ShownSet:
    """Counts the rows of a set by what they have in common."""
    groups = [
        one for ledger in LEDGERS for one in fetch(session, _Group, DESCRIBE[ledger.table], {"action": action.id})
    ]
    not_kept = 0 if action.verb != ActionVerb.RETRY else sum(one.rows for one in groups if not one.kept)
    return ShownSet(
        action.id,
        action.verb,
        action.expected,
        action.expected >= MOST_ROWS,
        not_kept,
        min((one.oldest for one in groups if one.oldest), default=None),
        by_kind=_most(groups, lambda one: f"{one.ledger} {one.kind} {one.state}"),
        by_error=_most(groups, lambda one: one.trouble),
        by_contract=_most(groups, lambda one: one.contract),
    )


def read_set(session: Session, action_id: UUID) -> ShownSet | None:
    """Describes the set of an action that was shown before; None when there is no such action."""
    found = select_record(SetAction, OpsAction).where(col(OpsAction.id) == action_id)
    action = fetch_one(session, SetAction, found)
    return None if action is None else describe_set(session, action)


def count_seats(session: Session, action_id: UUID) -> list[ContractSeatsNeeded]:
    """Lists the contracts that the jobs of a set are about, those with the most jobs first."""
    return fetch(session, ContractSeatsNeeded, COUNT_SEATS, {"action": action_id, "limit": SHOWN_CONTRACTS})


def list_rows(session: Session, action_id: UUID, *, after: UUID | None = None, outcome: str = "") -> list[SetRow]:
    """Lists a page of the rows of an action, and one more if there are more.

    Parameters:
      after: the last row of the page before.
      outcome: a word of ``RowOutcome``, or `waiting`; empty for all.
    """
    asked = {"action": action_id, "after": after or UUID(int=0), "outcome": outcome, "limit": PAGE + 1}
    return fetch(session, SetRow, LIST_ROWS, asked)


def _most(groups: Sequence[_Group], name: Callable[[_Group], str]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for one in groups:
        counted[name(one)] += one.rows
    return dict(counted.most_common(SHOWN_CONTRACTS))


__all__ = [
    "PAGE",
    "ContractSeatsNeeded",
    "SetAction",
    "SetRow",
    "ShownSet",
    "count_seats",
    "describe_set",
    "list_rows",
    "read_set",
]
