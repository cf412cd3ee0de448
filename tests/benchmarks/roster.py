"""Measures one request of a hundred thousand people, beside plain inserts of the same rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from models.portal import LOCAL_PORTAL_ID
from models.words import Policy
from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.population import add_catalog, contract, people
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import peak_memory, per_piece, since
from tests.kit.processes.support import rows
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.requests.enrollment import Enroll

CHUNK: Final = 1_000
TABLES: Final = ("account", "enrollment", "seat_movement", "link", "email", "job_person")
NUMBERED: Final = {"seat_movement": {"id"}, "throttle": {"id"}}  # columns that only the database fills

WRITTEN: Final = "CAST(CAST(xmin AS text) AS bigint), ctid"

COLUMNS: Final = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


# The commit time is used, because `finished_at` is the start of the last chunk's transaction.
SECONDS: Final = "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - started_at) FROM job"


@dataclass
class PlainTable:
    """The rows that a finished run left in a table, prepared so that inserting them costs as little as possible.

    Parameters:
      types: the columns that are not empty, and their types.
      shared: the columns with one value in each chunk (times, kinds, states), which are sent once a chunk.
      chunks: the values by column, a thousand rows each.
      rows: the number of rows.
    """

    name: str
    types: dict[str, str]
    shared: set[str]
    chunks: list[dict[str, Any]]

    def __len__(self) -> int:
        return self.count

    @property
    def count(self) -> int:
        """Counts the rows."""
        return sum(len(chunk[name]) for name in list(set(self.types) - self.shared)[:1] for chunk in self.chunks)

    @property
    def insert(self) -> str:
        """Returns the statement for one chunk."""
        arrays = [name for name in self.types if name not in self.shared]
        values = [f"%({n})s::{kind}" if n in self.shared else f"u.{n}" for n, kind in self.types.items()]
        unnested = ", ".join(f"%({name})s::{self.types[name]}[]" for name in arrays)
        return (
            f"INSERT INTO {self.name} ({', '.join(self.types)}) SELECT {', '.join(values)}"
            f" FROM unnest({unnested}) u ({', '.join(arrays)})"
        )


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures both, after an uncounted first run that makes the rows for the limit."""
    count = 5_000 if short else 100_000
    written: list[PlainTable] = []
    roster(system, count, keep=written)
    series = alternate(
        lambda: plain_inserts(system, written),
        lambda: roster(system, count),
        rounds=1 if short else ROUNDS,
    )
    return [ratio_figure("roster", series, unit="rows", goal=0.65, short=short)]


def roster(system: System, count: int, keep: list[PlainTable] | None = None) -> Run:
    """Measures one request to enroll this many new people."""

    def prepare() -> None:
        add_catalog(1)
        _record(count)

    return large_job(system, count, prepare, TABLES, keep)


def large_job(
    system: System,
    count: int,
    prepare: Callable[[], object],
    tables: Sequence[str],
    keep: list[PlainTable] | None = None,
) -> Run:
    """Measures rows per second, from the start of one job for this many people to its end, in one `rosters` process.

    Parameters:
      prepare: records the job and the rows it needs.
      tables: the tables to count rows in.
      keep: receives the written rows, so that the limit can insert them again.
    """
    with system.trial() as trial:
        prepare()
        worker = trial.workers("rosters", processes=1, threads=2)
        meter = trial.meter(worker=worker)
        trial.wait(lambda: trial.number("SELECT count(started_at) FROM job"))
        before = meter.read()
        trial.wait(lambda: trial.number("SELECT count(finished_at) FROM job"))
        used = since(before, meter.read())
        memory = peak_memory([worker.pid])
        seconds = trial.number(SECONDS)
        written = sum(trial.number(f"SELECT count(*) FROM {table}") for table in tables)
        if keep is not None:
            keep += [read_back(trial, table, parts=-(-count // CHUNK)) for table in tables]
        facts = {
            "rows per person": f"{written / count:.2f}",
            "people/s": f"{count / seconds:,.0f}",
            "peak memory of the worker": "unknown" if memory is None else f"{memory:,.0f} MB",
            "CPU ms per person": per_piece(used, count),
        }
        return Run(written / seconds, facts)


def _record(count: int) -> None:
    request = Enroll(contract=contract(0), people=people(count), policy=Policy.UNTIL_FULL)
    with transaction() as session:
        accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="roster")


def read_back(trial: Trial, table: str, *, parts: int, where: str = "true") -> PlainTable:
    """Reads the rows of a table that meet a condition, in this many parts, in the order of the transactions that wrote
    them: rows that refer to each other are in parts of the same number, also where a vacuum made room in between.
    """
    types = {str(name): str(kind) for name, kind in rows(COLUMNS, name=table)}
    types = {name: kind for name, kind in types.items() if name not in NUMBERED.get(table, ())}
    read = ", ".join(f"{name}::text" if kind == "json" else name for name, kind in types.items())
    with trial.system.connect(trial.name) as connection:
        found = connection.execute(f"SELECT {read} FROM {table} WHERE {where} ORDER BY {WRITTEN}".encode()).fetchall()
    columns = dict(zip(types, zip(*found, strict=True), strict=True))
    types = {name: kind for name, kind in types.items() if any(value is not None for value in columns[name])}
    size = -(-len(found) // parts)
    slices = [slice(start, start + size) for start in range(0, len(found), size)]
    shared = {name for name in types if all(len(set(map(str, columns[name][part]))) == 1 for part in slices)}
    chunks = [
        {name: columns[name][part.start] if name in shared else list(columns[name][part]) for name in types}
        for part in slices
    ]
    return PlainTable(table, types, shared, chunks)


def plain_inserts(
    system: System, tables: Sequence[PlainTable], prepare: Callable[[], object] = lambda: add_catalog(1)
) -> Run:
    """Measures rows per second of inserts over one connection: each table's rows of a thousand people, then a commit.

    Parameters:
      prepare: creates the rows to which the others refer.
    """
    statements = [(table.insert.encode(), table.chunks) for table in tables]
    with system.trial() as trial:
        prepare()
        meter = trial.meter()
        with system.connect(trial.name) as connection:
            before = meter.read() | {"client": time.process_time()}
            began = time.perf_counter()
            for chunk in range(max(len(chunks) for _, chunks in statements)):
                for statement, chunks in statements:
                    if chunk < len(chunks):  # a table may have fewer rows than people, or two for each
                        connection.execute(statement, chunks[chunk])
                connection.commit()
            seconds = time.perf_counter() - began
            used = since(before, meter.read() | {"client": time.process_time()})
        written = sum(len(table) for table in tables)
    return Run(written / seconds, {"CPU ms per person": per_piece(used, CHUNK * len(tables[0].chunks))})
