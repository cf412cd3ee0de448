"""The times of schedules: cron expressions, read in Europe/Paris."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError
from sqlalchemy import func
from sqlmodel import col, select

from models.paris import PARIS
from models.schedule import Schedule
from workers.database import Session


def next_slot(cron: str, after: datetime) -> datetime:
    """Returns the next time of a cron expression, read in Europe/Paris, as UTC; it is always later than `after`.

    In the hour that is repeated when summer time ends, cronsim first names the time of the first one, which is past.

    Raises: cronsim.CronSimError when the expression cannot be read.
    """
    times = (at.astimezone(UTC) for at in CronSim(cron, after.astimezone(PARIS)))
    return next(at for at in times if at > after)


def find_void_schedules(session: Session) -> list[str]:
    """Lists the schedules that are planned later than their next slot: the clock was ahead when that was done."""
    planned = session.exec(select(Schedule, func.now()).where(~col(Schedule.paused))).all()
    return [schedule.name for schedule, now in planned if _is_void(schedule, now)]


def _is_void(schedule: Schedule, now: datetime) -> bool:
    try:
        return schedule.next_run_at is not None and schedule.next_run_at > next_slot(schedule.cron, now)
    except CronSimError:  # the clock logs it at each round
        return False
