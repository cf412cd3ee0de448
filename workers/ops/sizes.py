"""Reads how large the tables are, and how the server of the database is."""

from typing import Final, NamedTuple

from sqlalchemy import text

from workers.database import Session
from workers.sql import fetch

SHOWN: Final = 20

# Reads the largest tables; their rows are the estimate of the planner.
READ_SIZES: Final = text(f"""
    SELECT st.relname AS name, greatest(CAST(cl.reltuples AS bigint), 0) AS rows,
      pg_table_size(st.relid) AS table_bytes, pg_indexes_size(st.relid) AS index_bytes,
      coalesce(st.n_dead_tup, 0) AS dead_rows
    FROM pg_stat_user_tables st JOIN pg_class cl ON cl.oid = st.relid
    WHERE st.schemaname = current_schema()
    ORDER BY pg_table_size(st.relid) + pg_indexes_size(st.relid) DESC, st.relname LIMIT {SHOWN}""")

# Reads the version of the server, the size of the database, and how many sessions it has of those that it may have.
READ_SERVER: Final = text("""
    SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes,
      (SELECT CAST(count(*) AS int) FROM pg_stat_activity) AS sessions,
      CAST(current_setting('max_connections') AS int) AS most_sessions""")


class TableSize(NamedTuple):
    """The size of a table in bytes; `dead_rows` are those that vacuum has not cleaned up yet."""

    name: str
    rows: int
    table_bytes: int
    index_bytes: int
    dead_rows: int


class DatabaseServer(NamedTuple):
    """The server of the database."""

    version: str
    bytes: int
    sessions: int
    most_sessions: int


def read_sizes(session: Session) -> list[TableSize]:
    """Reads the sizes of the largest tables."""
    return fetch(session, TableSize, READ_SIZES)


def read_server(session: Session) -> DatabaseServer:
    """Reads how the server of the database is."""
    return fetch(session, DatabaseServer, READ_SERVER)[0]


__all__ = ["DatabaseServer", "TableSize", "read_server", "read_sizes"]
