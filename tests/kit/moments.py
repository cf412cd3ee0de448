"""A test may run at another moment than today: in its database, in its identifiers and in its process.

In the database the name ``now()`` leads to a function of the test: PostgreSQL searches functions along its search path,
where the schema of the test comes before its own. The product reads the time from the database, so the processes of a
test run at that moment as well, and the product contains no code for this.
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
"""Tests marked ``moment`` run at each of these moments (Paris time) and at the real one."""

SEARCH_PATH: Final = f"{SCHEMA}, public, pg_catalog"

NOW = f"""
    CREATE SCHEMA {SCHEMA};
    CREATE FUNCTION {SCHEMA}.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT pg_catalog.now() + interval '{{seconds}} seconds' $$"""

# A column default is bound to PostgreSQL's own now() when its table is created.
DEFAULTS = f"""
    DO $$ DECLARE held record; BEGIN
      FOR held IN SELECT d.adrelid::regclass AS relation, a.attname FROM pg_attrdef d
        JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE pg_get_expr(d.adbin, d.adrelid) = 'now()'
      LOOP EXECUTE format('ALTER TABLE %s ALTER %I SET DEFAULT {SCHEMA}.now()', held.relation, held.attname); END LOOP;
    END $$"""


@contextmanager
def process_at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets the time of this process to this moment; time goes on from there. Waiting takes as long as usual."""
    shift = round((moment - datetime.now(UTC)).total_seconds()) * 1000
    # uuid7 reads the clock of the machine; the first 48 bits are milliseconds.
    monkeypatch.setattr(base, "uuid7", lambda: UUID(int=uuid7().int + (shift << 80)))
    with time_machine.travel(moment):
        yield


def begin_at(session: Session, moment: datetime) -> None:
    """Sets this moment in the transaction of a session that will be rolled back."""
    _define_now(session, moment)
    session.execute(text(f"SET LOCAL search_path = {SEARCH_PATH}"))


def set_database_to(moment: datetime) -> None:
    """Sets this moment in the test's own database, for every process that connects from now on."""
    with transaction() as session:
        _define_now(session, moment)
        name = session.execute(text("SELECT current_database()")).scalar_one()
        session.execute(text(f'ALTER DATABASE "{name}" SET search_path = {SEARCH_PATH}'))
    database.dispose_engine()


def _define_now(session: Session, moment: datetime) -> None:
    begun = session.execute(text("SELECT pg_catalog.now()")).scalar_one()
    session.execute(text(NOW.format(seconds=(moment - begun).total_seconds())))
    session.execute(text(DEFAULTS))
