"""The tests of the ledger use these: owed rows inserted without a request, and read without a service."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from workers.database import Session
from workers.engine import ledger as books
from workers.engine.ledger import (
    EMAILS,
    FIRST_LANE,
    JOBS,
    Claimed,
    ClaimedRow,
    ColumnsT,
    FailedAttempt,
    Ledger,
    WorkOutcome,
)

QUEUE = "enrollments"
FIRST = UUID(int=1)
ME = UUID(int=7)
WAITING_FOR_A_LOCK = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
DONE = {"job": "succeeded", "email": "sent"}
KIND = {"job": "put_company", "email": "invitation"}

both = pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
"""Runs a test once for each of the two ledgers."""

OWE_JOB = text("""
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, due_at)
    VALUES (:id, :portal, :kind, :queue, :lane, 'queued', CAST(:request AS json), now() + make_interval(secs => :due))
    """)

OWE_EMAIL = text("""
    INSERT INTO email (id, kind, dedup_key, to_address, locale, message_id, date, expires_at, state, queue, lane,
      due_at)
    VALUES (:id, :kind, CAST(:id AS text), 'a@example.com', 'fr', CAST(:id AS text), now(), now() + interval '1 day',
      'owed', :queue, :lane, now() + make_interval(secs => :due))""")


def lane(number: int) -> UUID:
    """Returns a lane of a test; a claim visits the lanes in the order of their numbers."""
    return UUID(int=number)


def owe(
    session: Session,
    ledger: Ledger[Claimed],
    *,
    lane: UUID = FIRST,
    due: float = -1.0,
    queue: str = QUEUE,
    kind: str = "",
    request: str = "{}",
) -> UUID:
    """Inserts a row that is due in this many seconds. Of rows with the same due time, a later insert comes later."""
    row_id = new_id()
    statement = OWE_JOB if ledger.table == "job" else OWE_EMAIL
    session.execute(
        statement,
        {
            "id": row_id,
            "portal": LOCAL_PORTAL_ID,
            "kind": kind or KIND[ledger.table],
            "queue": queue,
            "lane": lane,
            "due": due,
            "request": request,
        },
    )
    return row_id


def look(session: Session, ledger: Ledger[Claimed], row_id: UUID) -> dict[str, Any]:
    """Returns a row with the seconds until it is due and the seconds until its lease ends."""
    found = session.execute(
        text(
            "SELECT *, extract(epoch FROM due_at - now()) AS due_in, extract(epoch FROM leased_until - now()) AS"
            f" leased_for FROM {ledger.table} WHERE id = :id"
        ),
        {"id": row_id},
    )
    return dict(found.mappings().one())


def attempts(session: Session, row_id: UUID) -> list[tuple[int, str]]:
    """Returns the claim number and the outcome of each recorded attempt of a row."""
    found = session.execute(
        text("SELECT claim, outcome FROM job_attempt WHERE row_id = :id ORDER BY id"), {"id": row_id}
    )
    return [(claim, outcome) for claim, outcome in found]


def claim(
    session: Session, ledger: Ledger[ColumnsT], *, size: int = 100, lease: float = 30.0, cursor: UUID = FIRST_LANE
) -> list[ClaimedRow[ColumnsT]]:
    """Claims rows of the queue of these tests; the lease is in seconds."""
    return books.claim(session, ledger, QUEUE, size=size, lease=lease, worker=ME, cursor=cursor)


def ids(rows: Sequence[ClaimedRow[Claimed]]) -> list[UUID]:
    """Returns the identifiers of these rows."""
    return [row.id for row in rows]


def finished(ledger: Ledger[Claimed], rows: Sequence[ClaimedRow[Claimed]]) -> list[WorkOutcome]:
    """Returns the outcomes that say that each row was done."""
    return [WorkOutcome(row.id, row.claim, DONE[ledger.table], {"n": 1}) for row in rows]


def failed_attempt(
    ledger: Ledger[Claimed], row: ClaimedRow[Claimed], outcome: str, seconds: float | None, *, counts: bool = True
) -> FailedAttempt:
    """Returns a failed attempt: the row is due again in this many seconds, or dead if the seconds are None."""
    state = ledger.dead if seconds is None else ledger.waiting
    return FailedAttempt(row.id, row.claim, state, seconds, outcome, {"class": "Wrong"}, counts)
