"""Tells a supervisor or a proxy whether a process runs, and whether it can work."""

from anyio import to_thread
from sqlalchemy import text
from starlette.responses import PlainTextResponse, Response

from workers.database import is_transient, leave_server, transaction
from workers.engine.stopping import DRAINING
from workers.revisions import read_revisions
from workers.sql import fetch_value

# Tells whether the server refuses writes: `on` for a standby after a failover.
READ_WRITABLE = text("SELECT current_setting('transaction_read_only')")


async def alive() -> Response:
    """Answers 200 whenever this process runs."""
    return PlainTextResponse("alive\n")


async def ready() -> Response:
    """Answers 200 when this process can work, or 503 with the reason why the database is of no use to it."""
    if DRAINING.is_set():
        return PlainTextResponse("an operator drains this process\n", 503)
    try:
        lacking = await to_thread.run_sync(_find_lack)
    except Exception as error:
        if not is_transient(error):
            raise
        lacking = "the database does not answer"
    return PlainTextResponse(f"{lacking or 'ready'}\n", 503 if lacking else 200)


def _find_lack() -> str | None:
    """Returns what the database lacks for this process, or None when it can work."""
    with transaction() as session:
        writes = fetch_value(session, str, READ_WRITABLE) == "off"
    if not writes:
        leave_server()  # a process that is not ready gets no request that would find the new server
        return "the database is read-only"
    return None if read_revisions().suffices else "the database lacks tables of this release: run matricule migrate"
