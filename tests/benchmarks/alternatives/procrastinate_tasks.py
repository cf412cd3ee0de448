"""procrastinate as its guide shows it, with a task that does nothing: what its queue in PostgreSQL costs alone."""

import os

from procrastinate import App, PsycopgConnector

app = App(
    connector=PsycopgConnector(
        conninfo=os.environ["DATABASE_URL"].replace("postgresql+psycopg", "postgresql"), max_size=20
    )
)


@app.task(name="noop")  # type: ignore[untyped-decorator]
async def noop(number: int) -> None:
    """Does nothing."""
