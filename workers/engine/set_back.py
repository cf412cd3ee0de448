"""Puts stored times right after the clock of the database was ahead and was set back.

While it was ahead, rows were given times that lie in the future now. A lease, a pause or a lockout that ends in a year
would keep work from being done, and people from signing in, until then.
"""

from collections import Counter
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text

from models.ops_action import LONGEST_PAUSE
from models.password import WAITS
from workers.database import Session
from workers.engine.ledger import LEDGERS
from workers.settings import get_settings
from workers.sql import change, fetch_one, fetch_value

TERM_SECONDS: Final = 5.0
"""Seconds of the lease of the leading clock, which it renews at each tick."""

FURTHEST_TERM: Final = 2 * TERM_SECONDS
"""A lease of the leading clock that ends later than this was made while the clock was ahead, and is void."""

TOLERANCE_SECONDS: Final = 5.0
"""Seconds by which a time may lie in the future: transactions begin at different moments, and clocks are adjusted."""

MOST_LEASES: Final = 10
"""A lease that ends later than this many of our own is no lease of a process with other settings."""

SECONDS_AHEAD: Final = """
    SELECT coalesce(max(extract(epoch FROM happened.at - now())), 0)::float8 FROM (
      SELECT until - make_interval(secs => CAST(:term AS float8)) AS at FROM clock
      UNION ALL SELECT last_run_at FROM schedule
      UNION ALL SELECT seen_at FROM process) happened"""
"""The SQL query for the seconds by which the clock was ahead, or 0: things that happened cannot lie in the future."""

# Returns by how many seconds the clock was ahead, or 0.
READ_SECONDS_AHEAD = text(SECONDS_AHEAD)

HAPPENED: Final = (
    ("process", ("seen_at", "started_at")),
    ("schedule", ("last_run_at",)),
    ("job", ("created_at",)),
    ("email", ("created_at", "expires_at")),
    ("job", ("finished_at",)),
    ("email", ("finished_at",)),
    ("email", ("returned_at",)),
    ("webhook", ("created_at", "expires_at")),
    ("webhook", ("started_at",)),
    ("webhook_endpoint", ("failing_since",)),
    ("link", ("created_at", "expires_at")),
    ("certificate_file", ("created_at", "expires_at")),
    ("roster_file", ("used_at",)),
    ("suppression", ("created_at", "until")),
    ("throttle", ("at",)),
    ("sign_in", ("failed_at",)),
    ("queue_pause", ("since", "until")),
    ("ops_action", ("created_at",)),
    ("ops_action", ("confirmed_at",)),
    ("ops_action", ("finished_at",)),
    ("inbox_file", ("seen_at",)),
    ("inbox", ("arrived_at",)),
    ("inbox", ("expected_since",)),
    ("enrollment", ("enrolled_at",)),
    ("enrollment", ("release_warned_at",)),
    ("email_correction", ("asked_at",)),
    ("email_correction", ("confirmed_at",)),
    ("email_correction", ("password_given_at",)),
    ("email_correction", ("agreed_at",)),
)
"""Times of things that happened, by table; the further columns of an entry were counted from the first one."""

PLANNED: Final = (
    *((ledger.table, "due_at", "CAST(:tolerance AS float8)") for ledger in LEDGERS),
    ("webhook", "due_at", "CAST(:tolerance AS float8)"),
    ("webhook_endpoint", "next_try_at", "CAST(:tolerance AS float8)"),
    ("ops_action", "due_at", f"{LONGEST_PAUSE} + CAST(:tolerance AS float8)"),
    ("enrollment", "next_reminder_at", "11 * 86400"),
    ("sign_in", "locked_until", f"{max(WAITS)} + CAST(:tolerance AS float8)"),
)
"""Times of things that are to happen, with the seconds after which they are further off than can be."""

LOCKED: Final = "FOR NO KEY UPDATE SKIP LOCKED"  # what a transaction works on gets its time from that transaction

# Moves times of things that happened from the future to the moment they happened at; what is planned from them too.
MOVE_WHAT_HAPPENED: Final = {
    f"{table}.{columns[0]}": text(f"""
        UPDATE {table} SET {columns[0]} = least(now(), {columns[0]} - make_interval(secs => :ahead))
          {"".join(f", {one} = {one} - make_interval(secs => :ahead)" for one in columns[1:])}
        WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}
          WHERE {columns[0]} > now() + make_interval(secs => CAST(:tolerance AS float8)) {LOCKED}))""")
    for table, columns in HAPPENED
}

# Moves what is planned too far ahead by the time by which the clock was ahead, but not into the past.
MOVE_WHAT_IS_PLANNED: Final = {
    f"{table}.{column}": text(f"""
        UPDATE {table} SET {column} = greatest(now(), {column} - make_interval(secs => :ahead))
        WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}
          WHERE {column} > now() + make_interval(secs => {longest}) {LOCKED}))""")
    for table, column, longest in PLANNED
}

# Shortens leases that no process can have, so that the rows of a lost worker are rescued.
SHORTEN_LEASES: Final = {
    f"{table}.leased_until": text(f"""
        UPDATE {table} SET leased_until = now() + make_interval(secs => :lease)
        WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}
          WHERE leased_until > now() + {MOST_LEASES} * make_interval(secs => :lease) {LOCKED}))""")
    for table in (*(ledger.table for ledger in LEDGERS), "webhook")
}

# Keeps for operators when the clock was found to have been ahead, and by how much.
NOTE_SET_BACK = text("UPDATE clock SET set_back_at = now(), set_back_seconds = :ahead")


# Reads when it was last found to have been ahead; operators are told for a day.
READ_SET_BACK = text("""
    SELECT set_back_seconds AS seconds, set_back_at AS at FROM clock WHERE set_back_at > now() - interval '1 day'""")


def seconds_ahead(session: Session) -> float:
    """Returns by how many seconds the clock of the database was ahead before it was set back, or 0 if it was not."""
    ahead = fetch_value(session, float, READ_SECONDS_AHEAD, {"term": TERM_SECONDS}) or 0.0
    return ahead if ahead > TOLERANCE_SECONDS else 0.0


class SetBack(NamedTuple):
    """The clock of the database was ahead by so many seconds; `at` is None while its times are not put right."""

    seconds: float
    at: datetime | None


def read_set_back(session: Session) -> SetBack | None:
    """Reads whether the clock of the database was ahead within the last day, or None."""
    ahead = seconds_ahead(session)
    return SetBack(ahead, None) if ahead else fetch_one(session, SetBack, READ_SET_BACK)


def put_times_right(session: Session, ahead: float) -> dict[str, int]:
    """Moves every stored time that cannot be, and notes it for operators; returns the numbers of rows by column.

    Parameters:
      ahead: the seconds by which the clock was ahead (``seconds_ahead``).
    """
    values: dict[str, float] = {"ahead": ahead, "tolerance": TOLERANCE_SECONDS}
    moved = Counter({name: change(session, one, values) for name, one in MOVE_WHAT_IS_PLANNED.items()})
    moved.update({name: change(session, one, values) for name, one in MOVE_WHAT_HAPPENED.items()})
    lease = {"lease": get_settings().lease_seconds}
    moved.update({name: change(session, one, lease) for name, one in SHORTEN_LEASES.items()})
    change(session, NOTE_SET_BACK, {"ahead": ahead})
    return dict(+moved)  # without the columns in which nothing was wrong
