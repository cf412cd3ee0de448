"""Lets operators run a schedule now, pause it and let it go on; the audit trail keeps who did it and why."""

from typing import Any, Final, Literal

from cronsim import CronSimError
from sqlalchemy import func
from sqlmodel import col, select, update

from models.portal import LOCAL_PORTAL_ID
from models.schedule import Schedule
from workers.audit import record
from workers.database import Session
from workers.engine.slots import next_slot
from workers.sql import change

Verb = Literal["run", "pause", "resume"]
ScheduleAnswer = Literal["done", "so_already", "paused", "unknown", "unreadable"]

ACTIONS: Final = {"run": "run_schedule", "pause": "pause_schedule", "resume": "resume_schedule"}


def change_schedule(session: Session, name: str, verb: Verb, *, requested_by: str, reason: str) -> ScheduleAnswer:
    """Runs a schedule at the next tick of the clock, pauses it, or lets it go on at its next time.

    Returns: `done`; `so_already`: it is paused, or not, as asked; `paused`: one that is paused does not run;
    `unknown`: no schedule has this name; `unreadable`: its cron expression cannot be read, so it cannot go on.
    """
    locked = select(Schedule).where(Schedule.name == name).with_for_update()
    schedule = session.exec(locked).one_or_none()
    if schedule is None:
        return "unknown"
    answer = _run(session, schedule) if verb == "run" else _pause(session, schedule, paused=verb == "pause")
    if answer == "done":
        detail = {"schedule": name, "reason": reason}
        record(session, ACTIONS[verb], portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=detail)
    return answer


def _run(session: Session, schedule: Schedule) -> ScheduleAnswer:
    if schedule.paused:
        return "paused"
    change(session, update(Schedule).where(col(Schedule.name) == schedule.name).values(next_run_at=func.now()))
    return "done"


def _pause(session: Session, schedule: Schedule, *, paused: bool) -> ScheduleAnswer:
    """Pauses a schedule or lets it go on; slots that were missed meanwhile are not made up."""
    if schedule.paused is paused:
        return "so_already"
    values: dict[str, Any] = {"paused": paused}
    if not paused:
        try:
            values["next_run_at"] = next_slot(schedule.cron, session.exec(select(func.now())).one())
        except CronSimError:
            return "unreadable"
    change(session, update(Schedule).where(col(Schedule.name) == schedule.name).values(values))
    return "done"


__all__ = ["ScheduleAnswer", "Verb", "change_schedule"]
