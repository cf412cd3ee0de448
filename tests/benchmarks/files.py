"""Measures single enrollments while fifty files are imported on the same contracts, beside an idle system."""

import io
import random
import time
from collections.abc import Sequence
from typing import Final

from models.portal import LOCAL_PORTAL_ID
from tests.benchmarks.imports import written
from tests.benchmarks.measure import Figure, Verdict, percentile
from tests.benchmarks.population import add_catalog, contract, single
from tests.benchmarks.system import System, Trial
from tests.kit.processes.support import rows
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.imports.acceptance import accept_file, digest_of
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue

FILES: Final = 50
PAUSES: Final = (0.02, 0.1)  # seconds between two singles
LONGEST_MS: Final = 1_000
MOST_TIMES: Final = 10

COMMITS: Final = """
    SELECT 1000 * extract(epoch FROM pg_xact_commit_timestamp(e.xmin) - pg_xact_commit_timestamp(i.xmin))
    FROM enrollment e JOIN idempotency i ON i.job_id = e.job_id WHERE i.key LIKE :like"""

UNFINISHED: Final = "SELECT 1 FROM job WHERE kind = 'import_roster' AND finished_at IS NULL LIMIT 1"


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures single enrollments on an idle system, then during the import of the files."""
    per_file, count = (100, 20) if short else (2_000, 100)
    with system.trial() as trial:
        add_catalog(FILES)
        trial.job_workers()
        trial.workers("rosters", processes=1, threads=2)
        trial.start("workers.cli", "clock")
        trial.wait_until_ready(4)
        idle = _singles(trial, "idle", range(count))
        began = time.perf_counter()
        _drop(per_file)
        busy = _while_busy(trial, count)
        trial.wait(lambda: not rows(UNFINISHED))
        seconds = time.perf_counter() - began
        everybody = trial.number("SELECT count(*) FROM job_person WHERE code IN ('enrolled', 'attached')")
    if everybody != FILES * per_file:
        raise AssertionError(f"{everybody} people of {FILES * per_file} were enrolled")
    return [_figure(idle, busy, f"{FILES * per_file / seconds:,.0f}", short=short)]


def _drop(per_file: int) -> None:
    for number in range(FILES):
        file = io.BytesIO(written(per_file, start=number * per_file))
        request = ImportRoster(contract=contract(number), file=digest_of(file), file_name="export.csv")
        with transaction() as session:
            accept_file(session, LOCAL_PORTAL_ID, file, request, key=f"file-{number}")
    wake(Queue.ROSTERS)


def _while_busy(trial: Trial, count: int) -> list[float]:
    """Sends single enrollments until the last file is done, and at least this many for a percentile."""
    number = 0
    while number < count or rows(UNFINISHED):
        _ask(f"busy-{number}", 2_000_000 + number)
        number += 1
    return _delays(trial, "busy", number)


def _singles(trial: Trial, name: str, numbers: range) -> list[float]:
    for number in numbers:
        _ask(f"{name}-{number}", 1_000_000 + number)
    return _delays(trial, name, len(numbers))


def _ask(key: str, number: int) -> None:
    request = single(number, FILES)
    with transaction() as session:
        recorded = accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=key)
    wake(recorded.queue)
    time.sleep(random.uniform(*PAUSES))


def _delays(trial: Trial, name: str, count: int) -> list[float]:
    """Returns the milliseconds from the commit that accepts each single request to the commit that enrolls."""

    def read() -> list[float]:
        return [float(str(delay)) for (delay,) in rows(COMMITS, like=f"{name}-%")]

    trial.wait(lambda: len(read()) >= count)
    return read()


def _figure(idle: Sequence[float], busy: Sequence[float], rate: str, *, short: bool) -> Figure:
    quiet, loaded = percentile(idle, 95), percentile(busy, 95)
    met = loaded <= LONGEST_MS and loaded <= MOST_TIMES * quiet
    verdict = Verdict.NONE if short else Verdict.MET if met else Verdict.MISSED
    facts = {
        "p95 of singles, idle": f"{quiet:.0f} ms",
        "p95 of singles, beside the files": f"{loaded:.0f} ms of {len(busy)}",
        "p50 / longest, beside the files": f"{percentile(busy, 50):.0f} / {max(busy):.0f} ms",
        "people of files/s meanwhile": rate,
    }
    return Figure("files", f"≤ {MOST_TIMES}×, ≤ {LONGEST_MS} ms", (loaded / quiet,), "×", verdict, facts)
