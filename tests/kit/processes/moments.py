"""Another moment than today's, in the database of one test.

There the name ``now()`` leads to a function of the test: PostgreSQL looks functions up by its search path, in which the
test's schema stands before its own. The product reads the time from the database, so the processes of a test live at
that moment as well, and nothing in the product knows that it can be done.
"""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text

from workers import database
from workers.database import Session, transaction

SCHEMA: Final = "moment"
FRIDAY_NOON: Final = datetime.fromisoformat("2026-12-11T12:00+01:00")
SUNDAY_NIGHT: Final = datetime.fromisoformat("2026-12-06T03:00+01:00")

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
    seconds = (moment - datetime.now(UTC)).total_seconds()
    session.execute(text(NOW.format(seconds=seconds)))
    session.execute(text(DEFAULTS))
