"""Measures duplicates of certificates: beside Typst alone, by two processes, as a zip of 200, and beside WeasyPrint.

An uncounted first zip provides the documents that all others render: French attestations of 200 people, each a
DUPLICATA with the pictures of two companies and its own QR code.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from scripts.embedded.procfile import parse_procfile
from tests.benchmarks import sheets
from tests.benchmarks.measure import ROUNDS, Figure, Run, Verdict, alternate, percentile, ratio_figure
from tests.benchmarks.population import person
from tests.benchmarks.sheets import Sheet
from tests.benchmarks.system import System
from tests.benchmarks.usage import peak_memory
from tests.kit.builders.certificates import did, graduates, organisation
from tests.kit.builders.contracts import add_contract
from tests.kit.processes.support import PROJECT
from workers.catalog.records import put_company
from workers.certificates.duplicates.copies import read_copies, read_logos
from workers.cli.samples.certificates import LOGOS
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.requests.catalog import PutCompany
from workers.requests.certificates import DuplicateCertificates

WARM: Final = 20
"""The number of documents rendered before the measured ones."""

MOST_MEGABYTES: Final = 150
PEAK: Final = "peak memory of the worker"
SAME: Final = "SHA-256 of all documents"

# The commit time is used, because `finished_at` is the start of the last chunk's transaction.
SECONDS: Final = """
    SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - started_at) FROM job
    WHERE kind = 'duplicate_certificates' AND state = 'succeeded' AND failures = 0"""
FINISHED: Final = "SELECT count(finished_at) FROM job WHERE kind = 'duplicate_certificates'"


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures the zip beside as many plain compilations, then warm documents one by one."""
    count, few, rounds = (25, 25, 1) if short else (200, 60, ROUNDS)
    many, some = system.folder / "sheets", system.folder / "few-sheets"
    zipped(system, count, keep=many)
    found, logos = sheets.kept(many)
    sheets.keep(some, found[:few], logos)

    def each(engine: str, file: Path = many) -> Run:
        return _by_median(rendered(system, engine, file))

    def one_after_another(engine: str, *, warm: int = WARM, processes: int = 1) -> Run:
        return _by_total(rendered(system, engine, many, warm=warm, processes=processes))

    zips = alternate(lambda: one_after_another("bare", warm=0), lambda: zipped(system, count), rounds=rounds)
    alone = alternate(lambda: each("bare"), lambda: each("ours"), rounds=rounds)
    pairs = alternate(lambda: one_after_another("ours"), lambda: one_after_another("ours", processes=2), rounds=rounds)
    guide = alternate(lambda: each("weasyprint", some), lambda: each("ours", some), rounds=rounds)
    keeping = alternate(lambda: each("weasyprint-kept", some), lambda: each("ours", some), rounds=rounds)
    if len({run.facts[SAME] for run in (*alone.limits, *alone.ours)}) > 1:
        raise AssertionError("Typst alone made other documents")
    asked: Any = {"unit": "documents", "short": short}
    return [
        ratio_figure("certificates, zip", zips, goal=1 / 1.4, **asked),
        _memory(zips.ours, short=short),
        ratio_figure("certificates", alone, goal=1 / 1.3, **asked),
        ratio_figure("certificates, two processes", pairs, goal=1.4, **asked),
        ratio_figure("certificates, WeasyPrint", guide, goal=8.0, **asked),
        ratio_figure("certificates, WeasyPrint that keeps all it can", keeping, goal=8.0, **asked),
    ]


def zipped(system: System, count: int, keep: Path | None = None) -> Run:
    """Measures documents per second, from the start of one job to the commit that names its zip, in one
    `certificates_bulk` process.

    Parameters:
      keep: a file that receives the documents, so that the limit can render them again.
    """
    with system.trial() as trial:
        job_id = _owe(count)
        store = trial.folder / "documents"
        environment = _of_the_procfile() | {"CERTIFICATE_STORE": str(store)}
        worker = trial.workers("certificates_bulk", processes=1, threads=2, **environment)
        trial.wait(lambda: trial.number(FINISHED))
        seconds = trial.number(SECONDS)
        memory = peak_memory([worker.pid])
        size = trial.number("SELECT size FROM certificate_file WHERE kind = 'zip'")
        made = trial.number("SELECT count(DISTINCT sha256) FROM rendering")
        if made != count:
            raise AssertionError(f"{made} documents of {count}")
        if keep is not None:
            _keep(keep, job_id)
    facts = {PEAK: "unknown" if memory is None else f"{memory:.0f} MB", "size of the zip": f"{size / 1e6:.1f} MB"}
    return Run(count / seconds, facts | {"seconds": f"{seconds:.2f}"})


def _of_the_procfile() -> dict[str, str]:
    """Returns the variables that the line `certificates-bulk` sets for its process."""
    [line] = [one for one in parse_procfile((PROJECT / "Procfile").read_text()) if one.name == "certificates-bulk"]
    before, _, _ = line.command.partition("dramatiq")
    return dict(word.split("=", 1) for word in before.split())


def _owe(count: int) -> UUID:
    """Creates people who completed a training, their certificates with two pictures, and one job for a duplicate of
    each.
    """
    of_issuer, of_company = (base64.b64encode(content).decode() for content in LOGOS.values())
    with transaction() as session:
        add_contract(session)
        did(session, organisation(logo=of_issuer, colour="#0b5d4b"))
        put_company(session, LOCAL_PORTAL_ID, new_id(), PutCompany(reference="acme", name="Acmé", logo=of_company))
        enrollments = graduates(session, *map(person, range(count)))
    request = DuplicateCertificates(contract="C-1", enrollment_ids=enrollments)
    with transaction() as session:
        job_id = accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="zip").job_id
    with transaction() as session:
        session.execute(text("ANALYZE"))
    return job_id


def _keep(file: Path, job_id: UUID) -> None:
    with transaction() as session:
        copies = read_copies(session, job_id)
        logos = read_logos(session, [copy.printed.snapshot for copy in copies])
    sheets.keep(file, [Sheet(copy.printed, copy.document, copy.locale, copy.issued_at) for copy in copies], logos)


def rendered(system: System, engine: str, file: Path, *, warm: int = WARM, processes: int = 1) -> list[dict[str, Any]]:
    """Has this many processes render every document of the file, starting together; returns the report of each."""
    with system.trial() as trial:
        go = trial.folder / "go"
        started = [
            trial.start("tests.benchmarks.rendering", engine, str(file), str(warm), str(go), str(share))
            for share in range(processes)
        ]
        trial.wait(lambda: len(list(trial.folder.glob("go.*"))) == processes)
        go.touch()
        trial.wait(lambda: all(process.poll() is not None for process in started))
        logs = [trial.folder / f"{number}.log" for number in range(processes)]
        return [json.loads(log.read_text().splitlines()[-1]) for log in logs]


def _by_median(said: list[dict[str, Any]]) -> Run:
    """Computes documents per second from the median time of a document."""
    [one] = said
    middle = median(one["each"])
    return Run(1000 / middle, {"median / p95": f"{middle:.1f} / {percentile(one['each'], 95):.1f} ms"} | _same(said))


def _by_total(said: list[dict[str, Any]]) -> Run:
    """Computes documents per second, from the first start of a process to the last end."""
    seconds = max(one["ended"] for one in said) - min(one["began"] for one in said)
    made = sum(len(one["each"]) for one in said)
    used = 1000 * sum(one["used"] for one in said) / made
    return Run(made / seconds, {"seconds": f"{seconds:.2f}", "CPU ms per document": f"{used:.2f}"})


def _same(said: list[dict[str, Any]]) -> dict[str, str]:
    return {SAME: said[0]["sha256"][:12]}


def _memory(zips: Sequence[Run], *, short: bool) -> Figure:
    peaks = [float(run.facts[PEAK].removesuffix(" MB")) for run in zips]
    met = max(peaks) < MOST_MEGABYTES
    verdict = Verdict.NONE if short else Verdict.MET if met else Verdict.MISSED
    return Figure("certificates, memory of the zip", f"< {MOST_MEGABYTES} MB", peaks, " MB", verdict, {})
