"""The times of schedules: cron expressions, read in Europe/Paris."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from models.paris import PARIS


def next_slot(cron: str, after: datetime) -> datetime:
    """Returns the next time of a cron expression, read in Europe/Paris, as UTC; it is always later than `after`.

    In the hour that is repeated when summer time ends, cronsim first names the time of the first one, which is past.

    Raises: cronsim.CronSimError when the expression cannot be read.
    """
    times = (at.astimezone(UTC) for at in CronSim(cron, after.astimezone(PARIS)))
    return next(at for at in times if at > after)


def is_void(cron: str, next_run_at: datetime | None, now: datetime) -> bool:
    """Tells whether a schedule is planned later than its next slot: the clock was ahead when that was done."""
    try:
        return next_run_at is not None and next_run_at > next_slot(cron, now)
    except CronSimError:  # the clock logs it at each round
        return False
