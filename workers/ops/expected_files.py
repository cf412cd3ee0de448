"""Finds the inboxes that expect a file which has not come."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from cronsim import CronSimError
from sqlalchemy import text

from models.expected_file import MOST_MISSED, MissingFile, expected_times, find_missing_file
from workers.database import Session, array
from workers.ops.capped import CappedNumber, problem_of
from workers.sql import fetch

# Reads the inboxes that expect files.
READ_EXPECTING: Final = text("""
    SELECT i.id, i.reference, i.contract, p.name AS portal, i.expected, i.expected_since, i.grace_seconds, i.arrived_at,
      now() AS now
    FROM inbox i JOIN portal p ON p.id = i.portal_id
    WHERE i.expected IS NOT NULL AND i.expected_since IS NOT NULL AND NOT i.paused ORDER BY i.reference, i.id""")

# Reads the company of each of these inboxes, and how many lines the last file had, if it could be read.
READ_LAST_FILES: Final = text("""
    SELECT i.id, co.name AS company, last.rows AS lines
    FROM unnest(CAST(:inboxes AS uuid[])) given (id) JOIN inbox i USING (id)
    LEFT JOIN contract c ON c.portal_id = i.portal_id AND c.reference = i.contract
    LEFT JOIN company co ON co.id = c.company_id
    LEFT JOIN LATERAL (
      SELECT ro.rows FROM inbox_file f LEFT JOIN roster ro ON ro.job_id = f.job_id
      WHERE f.inbox_id = i.id ORDER BY f.seen_at DESC LIMIT 1) last ON true""")


class _ExpectingInbox(NamedTuple):
    id: UUID
    reference: str
    contract: str
    portal: str
    expected: str
    expected_since: datetime
    grace_seconds: int
    arrived_at: datetime | None
    now: datetime


class _LastFile(NamedTuple):
    id: UUID
    company: str | None
    lines: int | None


def find_missing_files(session: Session) -> list[dict[str, Any]]:
    """Lists the inboxes that expect a file which has not come in time, as `file_missing`, until one comes.

    Each tells the `portal`, the `contract` and its `company`, `since` when (and for how many `seconds`) a file has been
    expected, when the last one came (`last_at`) and how many `lines` it had; its count is that of the missing files.
    """
    expecting = fetch(session, _ExpectingInbox, READ_EXPECTING)
    missing = [(inbox, found) for inbox in expecting if (found := _missing(inbox)) is not None]
    last = _last_files(session, [inbox.id for inbox, _ in missing])
    return [_problem(inbox, found, last.get(inbox.id)) for inbox, found in missing]


def _missing(inbox: _ExpectingInbox) -> MissingFile | None:
    since, arrived_at = inbox.expected_since, inbox.arrived_at
    times = expected_times(inbox.expected, since if arrived_at is None else max(since, arrived_at))
    grace = timedelta(seconds=inbox.grace_seconds)
    try:
        return find_missing_file(times, since=since, arrived_at=arrived_at, grace=grace, now=inbox.now)
    except CronSimError:  # written by a release that reads more; one inbox must not hide the others
        return None


def _last_files(session: Session, inboxes: Sequence[UUID]) -> dict[UUID, _LastFile]:
    found = fetch(session, _LastFile, READ_LAST_FILES, {"inboxes": array(inboxes)}) if inboxes else []
    return {one.id: one for one in found}


def _problem(inbox: _ExpectingInbox, missing: MissingFile, last: _LastFile | None) -> dict[str, Any]:
    return problem_of(
        "file_missing",
        inbox.reference,
        CappedNumber(missing.missed, missing.missed == MOST_MISSED),
        portal=inbox.portal,
        contract=inbox.contract,
        company=last.company if last else None,
        since=missing.since.isoformat(),
        seconds=(inbox.now - missing.since).total_seconds(),
        last_at=inbox.arrived_at.isoformat() if inbox.arrived_at else None,
        lines=last.lines if last else None,
    )


__all__ = ["find_missing_files"]
