"""How alembic reaches the database: the same settings as every process."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import create_engine, event, pool
from sqlmodel.sql.sqltypes import AutoString

from models.tables import metadata
from workers.settings import get_settings

PINNED = (
    "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET client_encoding = 'UTF8'; "
    "SET standard_conforming_strings = on; SET transform_null_equals = off; SET statement_timeout = 0; "
    "SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0"
)
"""A migration must not depend on the settings of the database or the role, nor on the size of the database."""

SINCE_17 = "SET transaction_timeout = 0; "


def render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Writes SQLModel's string type as the plain one, so that a migration needs no SQLModel."""
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


def pin_settings(connection: Any, _: object) -> None:
    """Sets what a migration depends on in the session that was just opened."""
    connection.autocommit = True  # what a transaction sets is undone when it is rolled back
    connection.execute((SINCE_17 if connection.info.server_version >= 170_000 else "") + PINNED)
    connection.autocommit = False


def run() -> None:
    """Runs the migrations on DATABASE_URL, in one transaction, one migrator at a time."""
    engine = create_engine(get_settings().database_url, poolclass=pool.NullPool)
    event.listen(engine, "connect", pin_settings, insert=True)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            compare_type=True,
            compare_server_default=True,
            render_item=render_item,
        )
        with context.begin_transaction():
            # Two releases started at once would both find an empty database: the second waits here for the first.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4207849484)")
            context.run_migrations()


run()
