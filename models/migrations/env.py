"""How alembic reaches the database: the same settings as every process."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import create_engine, pool
from sqlmodel.sql.sqltypes import AutoString

from models.tables import metadata
from workers.settings import get_settings

SESSION_OPTIONS = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c client_encoding=UTF8"
    " -c standard_conforming_strings=on -c statement_timeout=0 -c lock_timeout=0 -c transform_null_equals=off"
)
"""A migration must not depend on the settings of the database or the role, nor on the size of the database."""


def render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Writes SQLModel's string type as the plain one, so that a migration needs no SQLModel."""
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


def run() -> None:
    """Runs the migrations on DATABASE_URL, in one transaction, one migrator at a time."""
    options = {"options": SESSION_OPTIONS}
    engine = create_engine(get_settings().database_url, poolclass=pool.NullPool, connect_args=options)
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
