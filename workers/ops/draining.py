"""Lets operators have a process take nothing new, finish what it holds and say so; the audit trail keeps who and why.

The order is kept in the row of the process, which reads it with its next heartbeat (``workers/engine/draining.py``).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from workers.audit import record
from workers.database import Session
from workers.engine.rollout import ALIVE_SECONDS
from workers.sql import as_json, fetch

SHORTEST_BEGINNING: Final = 8
"""The fewest characters of an identifier by which a process is named."""

_SHOWN: Final = "pr.id, pr.host, pr.kind, pr.pid, pr.drain_asked_at, pr.drained_at"

# Finds the processes that are alive and have this name, and locks their rows.
FIND_PROCESSES = text(f"""
    SELECT {_SHOWN} FROM process pr
    WHERE pr.seen_at > now() - make_interval(secs => {ALIVE_SECONDS})
      AND (pr.host || ':' || pr.kind = :name OR pr.host || ':' || pr.pid = :name
        OR (length(:name) >= {SHORTEST_BEGINNING} AND starts_with(CAST(pr.id AS text), lower(:name))))
    ORDER BY pr.id FOR UPDATE""")

# Lets processes take nothing new; an order that stands is replaced, and what was drained stays so.
ORDER_DRAIN = text("""
    UPDATE process SET drain_asked_at = coalesce(drain_asked_at, now()), drain_by = :by, drain_reason = :reason,
      drain_stop = :stop
    WHERE id = ANY(CAST(:ids AS uuid[]))""")

# Lets processes take work again.
UNDO_DRAIN = text("""
    UPDATE process SET drain_asked_at = NULL, drain_by = NULL, drain_reason = NULL, drain_stop = false,
      drained_at = NULL
    WHERE id = ANY(CAST(:ids AS uuid[]))""")

# Reads how far processes are; those that have ended are missing.
READ_DRAINED = text(f"SELECT {_SHOWN} FROM process pr WHERE pr.id = ANY(CAST(:ids AS uuid[])) ORDER BY pr.id")


class DrainRefusal(StrEnum):
    """The reason why no process is told anything."""

    UNKNOWN_PROCESS = "unknown_process"
    AMBIGUOUS = "ambiguous"  # several have this name
    NOT_DRAINED = "not_drained"


class NamedProcess(NamedTuple):
    """A process that an operator named, and whether it drains."""

    id: UUID
    host: str
    kind: str
    pid: int
    drain_asked_at: datetime | None
    drained_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Returns the process as commands show it."""
        return as_json(self)


class RefusedDrain(NamedTuple):
    """A refusal, with the processes that have the name."""

    code: DrainRefusal
    found: Sequence[NamedProcess] = ()


def drain_processes(
    session: Session, name: str, *, every: bool, stop: bool, requested_by: str, reason: str
) -> list[NamedProcess] | RefusedDrain:
    """Has a process take nothing new from its next heartbeat on.

    Parameters:
      name: its identifier or the beginning of it, `HOST:KIND` as the status shows it, or `HOST:PID`.
      every: takes all processes with this name; otherwise several are refused.
      stop: has it end once it holds nothing any more.
    """
    found = _find(session, name, every=every)
    if isinstance(found, RefusedDrain):
        return found
    given = {"ids": _ids(found), "by": requested_by, "reason": reason, "stop": stop}
    session.execute(ORDER_DRAIN, given)
    _audit(session, "drain_process", found, requested_by, {"reason": reason, "stop": stop})
    return found


def undo_drain(
    session: Session, name: str, *, every: bool, requested_by: str, reason: str
) -> list[NamedProcess] | RefusedDrain:
    """Lets a process that drains, or is drained, take work again from its next heartbeat on."""
    found = _find(session, name, every=every, draining=True)
    if isinstance(found, RefusedDrain):
        return found
    session.execute(UNDO_DRAIN, {"ids": _ids(found)})
    _audit(session, "undo_drain", found, requested_by, {"reason": reason})
    return found


def read_drained(session: Session, processes: Sequence[NamedProcess]) -> list[NamedProcess]:
    """Reads how far these processes are; those that have ended are left out, and hold nothing."""
    return fetch(session, NamedProcess, READ_DRAINED, {"ids": _ids(processes)})


def _find(session: Session, name: str, *, every: bool, draining: bool = False) -> list[NamedProcess] | RefusedDrain:
    typed = name.encode("utf-8", "replace").decode()  # a shell may pass bytes that are no text
    named = fetch(session, NamedProcess, FIND_PROCESSES, {"name": typed})
    found = [one for one in named if one.drain_asked_at] if draining else named
    if not named:
        return RefusedDrain(DrainRefusal.UNKNOWN_PROCESS)
    if not found:
        return RefusedDrain(DrainRefusal.NOT_DRAINED, named)
    return RefusedDrain(DrainRefusal.AMBIGUOUS, found) if len(found) > 1 and not every else found


def _ids(processes: Sequence[NamedProcess]) -> list[UUID]:
    return [one.id for one in processes]


def _audit(
    session: Session, action: str, found: Sequence[NamedProcess], requested_by: str, detail: dict[str, Any]
) -> None:
    for one in found:
        named = {"process": str(one.id), "host": one.host, "kind": one.kind, "pid": one.pid}
        record(session, action, portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=named | detail)


__all__ = ["DrainRefusal", "NamedProcess", "RefusedDrain", "drain_processes", "read_drained", "undo_drain"]
