"""Another moment than today's, for one test: in its database, in its identifiers and in this process.

In the database the name ``now()`` leads to a function of the test: PostgreSQL looks functions up by its search path, in
which the test's schema stands before its own. The product reads the time from the database, so the processes of a test
live at that moment as well, and nothing in the product knows that it can be done.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pytest
import time_machine
from sqlalchemy import text
from uuid_utils.compat import uuid7

from models import base
from workers import database
from workers.database import Session, transaction

SCHEMA: Final = "moment"
SUNDAY_NIGHT: Final = datetime.fromisoformat("2026-12-06T03:00+01:00")
FRIDAY_NOON: Final = datetime.fromisoformat("2026-12-11T12:00+01:00")

MOMENTS: Final = {
    "today": None,
    "sunday_night": SUNDAY_NIGHT,
    "end_of_the_week": datetime.fromisoformat("2026-12-11T17:59+01:00"),
    "public_holiday": datetime.fromisoformat("2026-05-14T10:00+02:00"),
    "summer_time_ends": datetime.fromisoformat("2026-10-25T02:59:59+02:00"),
    "summer_time_begins": datetime.fromisoformat("2027-03-28T01:59:59+01:00"),
    "leap_day": datetime.fromisoformat("2028-02-29T12:00+01:00"),
    "end_of_the_year": datetime.fromisoformat("2026-12-31T23:59:59+01:00"),
}
"""The moments of Paris at which tests marked ``moment`` run, besides the real one."""

SEARCH_PATH: Final = f"{SCHEMA}, public, pg_catalog"

NOW = f"""
    CREATE SCHEMA {SCHEMA};
    CREATE FUNCTION {SCHEMA}.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT pg_catalog.now() + interval '{{seconds}} seconds' $$"""

# A default was bound to PostgreSQL's own function when its table was made.
DEFAULTS = f"""
    DO $$ DECLARE held record; BEGIN
      FOR held IN SELECT d.adrelid::regclass AS relation, a.attname FROM pg_attrdef d
        JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE pg_get_expr(d.adbin, d.adrelid) = 'now()'
      LOOP EXECUTE format('ALTER TABLE %s ALTER %I SET DEFAULT {SCHEMA}.now()', held.relation, held.attname); END LOOP;
    END $$"""


@contextmanager
def process_at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes it this moment in this process; time goes on from there. Waiting takes as long as ever."""
    shift = round((moment - datetime.now(UTC)).total_seconds()) * 1000
    # uuid7 reads the clock of the machine; its first 48 bits are milliseconds.
    monkeypatch.setattr(base, "uuid7", lambda: UUID(int=uuid7().int + (shift << 80)))
    with time_machine.travel(moment):
        yield


def begin_at(session: Session, moment: datetime) -> None:
    """Makes it this moment in the transaction of a session that will be rolled back."""
    _define_now(session, moment)
    session.execute(text(f"SET LOCAL search_path = {SEARCH_PATH}"))


def set_database_to(moment: datetime) -> None:
    """Makes it this moment in the test's own database, for every process that connects from here on."""
    with transaction() as session:
        _define_now(session, moment)
        name = session.execute(text("SELECT current_database()")).scalar_one()
        session.execute(text(f'ALTER DATABASE "{name}" SET search_path = {SEARCH_PATH}'))
    database.dispose_engine()


def _define_now(session: Session, moment: datetime) -> None:
    begun = session.execute(text("SELECT pg_catalog.now()")).scalar_one()
    session.execute(text(NOW.format(seconds=(moment - begun).total_seconds())))
    session.execute(text(DEFAULTS))
