"""Says in one sentence why a job or a mail waits, until when, and when it will be done as things go."""

import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.job import ERROR_CLASS, ERROR_REASON, WAITING_IN_TIME
from models.mails import quoted
from models.waiting import WaitingCode, WaitingFacts, WaitingReason, estimated_seconds, why_it_waits
from workers.database import Session
from workers.engine.ledger import EMAILS, LEDGERS, Claimed, Ledger
from workers.engine.pauses import IN_FORCE
from workers.engine.rollout import ALIVE_SECONDS
from workers.engine.watchdog import OWN_TROUBLES
from workers.ops.capped import CAPS, CappedNumber, first_rows, read_by_index
from workers.sql import fetch_one, fetch_value

RATE_SECONDS: Final = 900.0
"""The time by which the rate of a queue is taken: what ended in the last fifteen minutes."""

MOST_BEFORE: Final = 1_000
"""The number to which the jobs before one in its lane are counted."""

READ_ROW: Final = {
    ledger.table: text(f"""
        SELECT t.*, pr.host, pr.pid, now() AS now FROM (
          SELECT kind, queue, lane, state, {ledger.order} AS place, due_at, leased_until, started_at, finished_at,
            failures, postponed_at IS NOT NULL AS postponed, {ERROR_CLASS} AS error_class,
            {ERROR_REASON} AS error_reason, {ledger.reads} AS needs, worker
          FROM {ledger.table} WHERE id = :id) t
        LEFT JOIN process pr ON pr.id = t.worker""")
    for ledger in LEDGERS
}
"""The statement that reads a row of each ledger, and the process that claimed it last."""

_DRAINS: Final = "pr.drain_asked_at IS NOT NULL"
_STUCK: Final = f"NOT {_DRAINS} AND coalesce(pr.trouble IN ({quoted(OWN_TROUBLES)}), false)"
_TAKES_WORK: Final = f"NOT {_DRAINS} AND NOT ({_STUCK})"

# Tells whether a process serves the queue, and when the first of them may hand mails to the relay: NULL for now; else
# why one that would serve it works no more, and the one that was drained last.
READ_SERVING: Final = text(f"""
    SELECT count(*) FILTER (WHERE {_TAKES_WORK}) > 0 AS served,
      CASE WHEN bool_and(coalesce(pr.circuit_until > now(), false)) FILTER (WHERE {_TAKES_WORK})
        THEN min(pr.circuit_until) FILTER (WHERE {_TAKES_WORK}) END AS rests_until,
      max(pr.circuit_reason) FILTER (WHERE {_TAKES_WORK}) AS circuit_reason,
      (array_agg(json_build_object('by', pr.drain_by, 'reason', pr.drain_reason, 'host', pr.host, 'pid', pr.pid)
        ORDER BY pr.drain_asked_at DESC) FILTER (WHERE {_DRAINS}))[1] AS drained,
      max(pr.trouble) FILTER (WHERE {_STUCK}) AS stuck
    FROM process pr WHERE pr.seen_at > now() - make_interval(secs => {ALIVE_SECONDS})
      AND CAST(:queue AS text) = ANY(string_to_array(pr.kind, ' '))""")

# Reads the pause of a row's queue or lane that ends last.
READ_PAUSE: Final = text(f"""
    SELECT qp.until, qp.paused_by, qp.reason, qp.reference FROM queue_pause qp
    WHERE qp.queue = :queue AND {IN_FORCE} AND (qp.lane IS NULL OR qp.lane = :lane)
    ORDER BY qp.until DESC LIMIT 1""")

_OF_LANE: Final = "h.queue = :queue AND h.lane = :lane"

# Reads what holds the lane of a job: the job of it that is being done, or its postponed head; and how many are before.
READ_LANE: Final = text(f"""
    SELECT r.id AS running_id, r.host, r.pid, r.started_at, p.id AS postponed_id, p.due_at AS postponed_until,
      p.error_class, p.error_reason,
      {
    first_rows(
        "job h",
        f"{_OF_LANE} AND h.due_at IS NOT NULL AND h.leased_until IS NULL"
        " AND h.sequence_number < :place AND h.due_at <= now()",
        "h.sequence_number",
        cap="most",
    )
} AS before
    FROM (SELECT 1) one
    LEFT JOIN LATERAL (
      SELECT h.id, pr.host, pr.pid, h.started_at FROM job h LEFT JOIN process pr ON pr.id = h.worker
      WHERE {_OF_LANE} AND h.leased_until IS NOT NULL LIMIT 1) r ON true
    LEFT JOIN LATERAL (
      SELECT id, due_at, {ERROR_CLASS} AS error_class, {ERROR_REASON} AS error_reason FROM job h
      WHERE {_OF_LANE} AND h.postponements > 0 AND h.due_at IS NOT NULL AND h.leased_until IS NULL AND h.id <> :id
      ORDER BY h.due_at DESC LIMIT 1) p ON true""")

_AHEAD: Final = f"t.queue = :queue AND {WAITING_IN_TIME} AND t.due_at < CAST(:due AS timestamptz)"

COUNT_AHEAD: Final = {
    ledger.table: text(f"SELECT {first_rows(f'{ledger.table} t', _AHEAD, 't.due_at')} AS ahead") for ledger in LEDGERS
}
"""The statement that counts the rows of a queue that are due before a moment, no further than to the cap."""

# Counts the rows of a queue that ended lately, as the clock has counted them.
COUNT_ENDED: Final = text("""
    SELECT coalesce(CAST(sum(l.rows) AS bigint), 0) FROM ledger_minute l
    WHERE l.ledger = :ledger AND l.minute > now() - make_interval(secs => :seconds) AND l.minute <= now()
      AND l.queue = :queue""")


class _Row(NamedTuple):
    kind: str
    queue: str
    lane: UUID
    state: str
    place: Any
    due_at: datetime | None
    leased_until: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    failures: int
    postponed: bool
    error_class: str
    error_reason: str
    needs: str
    worker: UUID | None
    host: str | None
    pid: int | None
    now: datetime


class _Serving(NamedTuple):
    served: bool
    rests_until: datetime | None
    circuit_reason: str | None
    drained: dict[str, Any] | None
    stuck: str | None


class _Pause(NamedTuple):
    until: datetime | None = None
    paused_by: str = ""
    reason: str = ""
    reference: str | None = None


class _Lane(NamedTuple):
    running_id: UUID | None = None
    host: str | None = None
    pid: int | None = None
    started_at: datetime | None = None
    postponed_id: UUID | None = None
    postponed_until: datetime | None = None
    error_class: str | None = None
    error_reason: str | None = None
    before: int = 0


class WhyItWaits(NamedTuple):
    """The reason why a job or a mail waits.

    Parameters:
      code: a word of ``WaitingCode``.
      until: the moment at which this reason ends; None when that is not known.
      estimate_at: when it will be done at the rate of its queue in the last fifteen minutes; None when nothing ended in
        them, when more is ahead than is counted, or when the reason must end first and it is not known when.
    """

    code: str
    sentence: str
    until: datetime | None
    estimate_at: datetime | None


class ExplainedWait(NamedTuple):
    """The reason why a job or a mail waits, with the words of its sentence in any language.

    Parameters:
      code, until, estimate_at: as in ``WhyItWaits``.
      words: the values of the placeholders in ``SENTENCES``; moments are datetimes, or None.
    """

    code: WaitingCode
    words: Mapping[str, object]
    until: datetime | None
    estimate_at: datetime | None


SENTENCES: Final[Mapping[WaitingCode, str]] = {
    WaitingCode.ENDED: "it does not wait: it is {state} since {finished}",
    WaitingCode.RUNNING: "it does not wait: {holder} does it, first begun {started}",
    WaitingCode.UNKNOWN_KIND: "no release that runs knows its kind, {kind}: finish the release that is rolled out",
    WaitingCode.STUCK_PROCESS: "the process that serves {queue} works no more ({stuck}): it ends itself and is started"
    " anew",
    WaitingCode.DRAINED: "{drainer} drains the process that serves {queue} ({drain_reason}): start another one, or"
    " matricule drain {drained} --undo",
    WaitingCode.NO_PROCESS: "no process serves {queue}: start it",
    WaitingCode.PAUSED: "{paused} is paused by {by} until {until}: {why}",
    WaitingCode.RELAY_RESTS: "the mailers leave the relay alone until {until} ({circuit})",
    WaitingCode.POSTPONED: "it is postponed until {until}: {error}",
    WaitingCode.RETRY: "it failed {failures} times ({error}) and is tried again at {until}",
    WaitingCode.DUE_LATER: "it is due at {until}",
    WaitingCode.LANE_RUNNING: "its lane is held by job {other} on {holder}, first begun {started}",
    WaitingCode.LANE_POSTPONED: "the head of its lane, job {other}, is postponed until {until}: {error}",
    WaitingCode.IN_LANE: "it is number {number} of its lane, whose jobs are done in order",
    WaitingCode.IN_TURN: "it is due, and {ahead} on {queue} come before it",
}

NOT_BY_ITSELF: Final = {
    *(WaitingCode.ENDED, WaitingCode.RUNNING, WaitingCode.UNKNOWN_KIND),
    *(WaitingCode.NO_PROCESS, WaitingCode.STUCK_PROCESS, WaitingCode.DRAINED),
}
"""Reasons with which no rate tells when it will be done."""


MOMENTS: Final = ("finished", "started", "until")
"""The words of the sentences that are moments."""


def find_why(session: Session, row_id: UUID) -> WhyItWaits | None:
    """Finds why this job or mail waits; returns None when there is none with this identifier."""
    found = explain_wait(session, row_id)
    if found is None:
        return None
    words = {name: _moment(word) if name in MOMENTS else word for name, word in found.words.items()}
    return WhyItWaits(found.code, SENTENCES[found.code].format(**words), found.until, found.estimate_at)


def explain_wait(session: Session, row_id: UUID) -> ExplainedWait | None:
    """Finds why this job or mail waits, as the words of a sentence; returns None when there is no such row."""
    read_by_index(session)
    for ledger in LEDGERS:
        if (row := fetch_one(session, _Row, READ_ROW[ledger.table], {"id": row_id})) is not None:
            return _explain(session, ledger, row_id, row)
    return None


def _explain(session: Session, ledger: Ledger[Claimed], row_id: UUID, row: _Row) -> ExplainedWait:
    serving = fetch_one(session, _Serving, READ_SERVING, {"queue": row.queue}) or _Serving(
        False, None, None, None, None
    )
    pause = fetch_one(session, _Pause, READ_PAUSE, {"queue": row.queue, "lane": row.lane}) or _Pause()
    lane = _read_lane(session, ledger, row_id, row)
    reason = why_it_waits(
        WaitingFacts(
            now=row.now,
            finished_at=row.finished_at,
            leased_until=row.leased_until,
            due_at=row.due_at,
            failures=row.failures,
            postponed=row.postponed,
            is_known=row.needs in ledger.known,
            served=serving.served,
            drained=serving.drained is not None,
            stuck=serving.stuck is not None,
            paused_until=pause.until,
            rests_until=serving.rests_until if ledger is EMAILS else None,
            lane_running=lane.running_id is not None,
            lane_postponed_until=lane.postponed_until,
            before_in_lane=lane.before,
        )
    )
    ahead = _count_ahead(session, ledger, row)
    words = _words(row, serving, lane, reason, ahead) | _words_of(row, pause)
    return ExplainedWait(reason.code, words, reason.until, _estimate(session, ledger, row, reason, ahead))


def _read_lane(session: Session, ledger: Ledger[Claimed], row_id: UUID, row: _Row) -> _Lane:
    """Reads what holds the lane of a waiting job; mails have no order in their lanes."""
    if not ledger.one_claimer_per_lane or row.due_at is None or row.leased_until is not None:
        return _Lane()
    asked = {"queue": row.queue, "lane": row.lane, "place": row.place, "id": row_id, "most": MOST_BEFORE}
    return fetch_one(session, _Lane, READ_LANE, asked) or _Lane()


def _count_ahead(session: Session, ledger: Ledger[Claimed], row: _Row) -> CappedNumber:
    if row.due_at is None:
        return CappedNumber(0)
    asked = {"queue": row.queue, "due": row.due_at, "rows": CAPS.rows}
    return CappedNumber.of(fetch_value(session, int, COUNT_AHEAD[ledger.table], asked) or 0, CAPS.rows)


def _estimate(
    session: Session, ledger: Ledger[Claimed], row: _Row, reason: WaitingReason, ahead: CappedNumber
) -> datetime | None:
    if reason.code in NOT_BY_ITSELF or ahead.at_least:
        return None
    asked = {"ledger": ledger.table, "queue": row.queue, "seconds": RATE_SECONDS}
    ended = fetch_value(session, int, COUNT_ENDED, asked) or 0
    seconds = estimated_seconds(ahead.number, ended, within=RATE_SECONDS)
    return None if seconds is None else max(row.now, reason.until or row.now) + timedelta(seconds=seconds)


def _words(row: _Row, serving: _Serving, lane: _Lane, reason: WaitingReason, ahead: CappedNumber) -> dict[str, object]:
    """Returns the words that the sentences are made of."""
    of_lane = reason.code in (WaitingCode.LANE_RUNNING, WaitingCode.LANE_POSTPONED)
    host, pid, started = (lane.host, lane.pid, lane.started_at) if of_lane else (row.host, row.pid, row.started_at)
    error = (lane.error_class, lane.error_reason) if of_lane else (row.error_class, row.error_reason)
    return {
        "state": row.state,
        "kind": row.kind,
        "queue": row.queue,
        "failures": row.failures,
        "finished": row.finished_at,
        "started": started,
        "until": reason.until,
        "holder": f"{host} (pid {pid})" if host else "a process that is gone",
        "other": lane.running_id or lane.postponed_id,
        "error": " ".join(part for part in error if part) or "no error recorded",
        "circuit": serving.circuit_reason,
        "stuck": serving.stuck,
        **_words_of_drain(serving.drained or {}),
        "number": f"{lane.before + 1}{'+' if lane.before > MOST_BEFORE else ''}",
        "ahead": f"{ahead.number}{'+' if ahead.at_least else ''}",
    }


def _words_of_drain(drained: Mapping[str, Any]) -> dict[str, str]:
    """Returns the words of the sentence that tells of a process that takes nothing new."""
    name = shlex.quote(f"{drained.get('host')}:{drained.get('pid')}")
    return {"drainer": drained.get("by", ""), "drain_reason": drained.get("reason", ""), "drained": name}


def _words_of(row: _Row, pause: _Pause) -> dict[str, object]:
    """Returns the words of the sentence that tells of a pause."""
    paused = row.queue if pause.reference is None else f"{pause.reference} on {row.queue}"
    return {"paused": paused, "by": pause.paused_by, "why": pause.reason}


def _moment(at: object) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if isinstance(at, datetime) else "-"


__all__ = ["ExplainedWait", "WhyItWaits", "explain_wait", "find_why"]
