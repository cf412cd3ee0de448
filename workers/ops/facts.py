"""Reads the smaller facts of the status: relays, schedules, inboxes, and what ended so far with the time it took."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlmodel import col

from models.counts import BOUNDS, LedgerTotal
from models.mails import INVITING, quoted
from models.relay import MailRelay
from models.roster import Inbox
from models.schedule import Schedule
from models.words import EmailState, JobState
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS
from workers.requests.enrollment import Enroll
from workers.requests.imports import ImportRoster
from workers.sql import as_json, fetch, select_record

ENROLLING: Final = (Enroll.kind, ImportRoster.kind)
"""The kinds of requests that enrol people."""

_BANDS: Final = ", ".join(f"coalesce(CAST(sum(t.took[{band}]) AS bigint), 0)" for band in range(1, len(BOUNDS) + 2))

_OF_WAYS: Final = {
    "request_to_enrolled": f"t.ledger = '{JOBS.table}' AND t.state = '{JobState.SUCCEEDED}'"
    f" AND t.kind IN ({quoted(ENROLLING)})",
    "request_to_mail": f"t.ledger = '{EMAILS.table}' AND t.state = '{EmailState.SENT}'"
    f" AND t.kind IN ({quoted(INVITING)})",
}

# Reads how long the requests that enrol took to their end, and until their invitations left, in bands.
READ_DURATIONS: Final = text(
    " UNION ALL ".join(
        f"SELECT '{name}' AS name, ARRAY[{_BANDS}] AS bands, coalesce(CAST(sum(t.took_ms) AS bigint), 0) AS took_ms"
        f" FROM ledger_total t WHERE {condition}"
        for name, condition in _OF_WAYS.items()
    )
)


class RelayState(NamedTuple):
    """A relay, when it last accepted and refused a mail, and why it refused."""

    name: str
    accepted_at: datetime | None
    refused_at: datetime | None
    refused_reason: str | None


class ScheduleState(NamedTuple):
    """A schedule, when it runs next and ran last."""

    name: str
    cron: str
    kind: str
    next_run_at: datetime | None
    last_run_at: datetime | None
    paused: bool


class InboxState(NamedTuple):
    """A folder that is watched, how the last look at it went, when files are expected and the last one came."""

    reference: str
    contract: str
    paused: bool
    scanned_at: datetime | None
    trouble: str | None
    expected: str | None
    arrived_at: datetime | None


class EndedTotal(NamedTuple):
    """The jobs or mails of one kind that ever ended in one state."""

    ledger: str
    queue: str
    kind: str
    state: str
    rows: int


class TimeTaken(NamedTuple):
    """How long something took, each time it ended: the number by band of ``BOUNDS``, and all times together."""

    name: str
    bands: list[int]
    took_ms: int


# Reads the relays, the schedules, the inboxes and the totals, each in order; built once, not at each reading.
READ_RELAYS: Final = select_record(RelayState, MailRelay).order_by(MailRelay.name)
READ_SCHEDULES: Final = select_record(ScheduleState, Schedule).order_by(Schedule.name)
READ_INBOXES: Final = select_record(InboxState, Inbox).order_by(Inbox.reference)
READ_TOTALS: Final = select_record(EndedTotal, LedgerTotal).order_by(
    *map(col, (LedgerTotal.ledger, LedgerTotal.queue, LedgerTotal.kind, LedgerTotal.state))
)


def read_schedules(session: Session) -> list[ScheduleState]:
    """Reads the schedules."""
    return fetch(session, ScheduleState, READ_SCHEDULES)


def read_facts(session: Session) -> dict[str, Any]:
    """Reads `relays`, `inboxes`, `totals` (since the counting began) and `durations` (in bands)."""
    return {
        "relays": [as_json(one) for one in fetch(session, RelayState, READ_RELAYS)],
        "inboxes": [as_json(one) for one in fetch(session, InboxState, READ_INBOXES)],
        "totals": [as_json(one) for one in fetch(session, EndedTotal, READ_TOTALS)],
        "durations": {one.name: _as_durations(one) for one in fetch(session, TimeTaken, READ_DURATIONS)},
    }


def _as_durations(taken: TimeTaken) -> dict[str, Any]:
    return {"bounds": BOUNDS, "bands": taken.bands, "seconds": taken.took_ms / 1_000}


__all__ = ["ScheduleState", "read_facts", "read_schedules"]
