"""Measures invitations sent by two mailer processes, beside aiosmtplib alone and beside the best sender we know.

All send the same bytes to the same sink. aiosmtplib records nothing; the best sender commits, as Matricule does.
"""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from models.portal import LOCAL_PORTAL_ID
from models.words import Policy
from tests.benchmarks.measure import ROUNDS, Figure, Interleaved, Run, bound_figure, interleave, ratio_figure
from tests.benchmarks.population import add_catalog, contract, people
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import listed, per_piece, since
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.requests.enrollment import Enroll
from workers.settings import Settings

PROCESSES: Final = 2

DEFAULT: Final = int(Settings.model_fields["smtp_connections"].default)
"""The connections of a process that the setting `SMTP_CONNECTIONS` has by itself."""

FLOORS: Final = {4: 0.30, 16: 0.70}
"""The smallest acceptable ratio to aiosmtplib, by the number of connections of a process."""

DEFAULT_FLOOR: Final = 0.50
MOST_CPU_MS: Final = 0.50
"""The CPU of mailers and PostgreSQL that one mail may cost at the default number of connections."""

MOST_SYNCS: Final = 1.5
"""The syncs of PostgreSQL's log that one mail may cost, times the connections of a process."""

CPU, SYNCS = "CPU of mailers and PostgreSQL", "syncs of PostgreSQL"

SHORT_LOOK_SECONDS: Final = 0.05

SENT = "SELECT count(*) FROM email WHERE finished_at IS NOT NULL"
UNSENT = "SELECT count(*) FROM email WHERE state <> 'sent'"
RATE = """
    SELECT (count(*) - 1) / extract(epoch FROM max(finished_at) - min(finished_at)) FROM email WHERE state = 'sent'"""


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures all senders, after an uncounted first run that provides the bytes for the limits."""
    count = 1_100 if short else 8_000
    kept = system.folder / "mails"
    mails(system, count, DEFAULT, keep=kept)
    numbers = sorted({DEFAULT, *FLOORS})
    limits = {f"aiosmtplib, {n}": partial(plain, system, count, kept, n) for n in FLOORS}
    limits |= {f"best, {n}": partial(fast, system, count, kept, n) for n in numbers}
    ours = {str(n): partial(mails, system, count, n) for n in numbers}
    measured = interleave(limits, ours, rounds=1 if short else ROUNDS)
    return _default_figures(measured, short=short) + [
        figure
        for n in numbers
        if n != DEFAULT
        for figure in _ratios(measured, f"mails, {n} connections", n, short=short)
    ]


def floor(connections: int, default: int) -> float:
    """Returns the smallest acceptable ratio to aiosmtplib: the highest of those that are asked for."""
    asked = {FLOORS.get(connections), DEFAULT_FLOOR if connections == default else None}
    return max(floor for floor in asked if floor is not None)


def _default_figures(measured: Interleaved, *, short: bool) -> list[Figure]:
    runs = measured.ours[str(DEFAULT)]
    cpu = [run.numbers[CPU] for run in runs]
    syncs = [run.numbers[SYNCS] for run in runs]
    return [
        *_ratios(measured, "mails", DEFAULT, short=short),
        bound_figure(
            "mails, CPU of mailers and PostgreSQL", cpu, at_most=MOST_CPU_MS, unit=" ms a mail", facts={}, short=short
        ),
        bound_figure(
            "mails, syncs of PostgreSQL", syncs, at_most=MOST_SYNCS / DEFAULT, unit=" a mail", facts={}, short=short
        ),
    ]


def _ratios(measured: Interleaved, name: str, connections: int, *, short: bool) -> list[Figure]:
    plainly = measured.series(str(connections), *(f"aiosmtplib, {number}" for number in FLOORS))
    best = measured.series(str(connections), f"best, {connections}")
    return [
        ratio_figure(name, plainly, unit="mails", goal=floor(connections, DEFAULT), short=short),
        ratio_figure(f"{name}, of the best sender", best.bare, unit="mails", goal=None, short=short),
    ]


def mails(system: System, count: int, connections: int, keep: Path | None = None) -> Run:
    """Measures mails per second, from the first recorded as sent to the last."""
    with system.trial() as trial:
        _owe(trial, count)
        sink, port = _start_sink(trial, keep)
        environment = {"SMTP_URL": f"smtp://127.0.0.1:{port}?tls=off", "SMTP_CONNECTIONS": str(connections)}
        syncs = system.wal_syncs()
        mailers = trial.workers("emails_bulk", processes=PROCESSES, threads=2, **environment)
        recorded = _until_recorded(trial, count, mailers=mailers, sink=sink)
        unsent = trial.number(UNSENT)
        trial.stop(mailers)
        numbers = {
            CPU: recorded.cpu_ms["mailers"] + recorded.cpu_ms["PostgreSQL"],
            SYNCS: (system.wal_syncs() - syncs) / count,
        }
        facts = _facts(connections, recorded.cpu_ms, numbers[SYNCS])
        return Run(recorded.rate, facts | ({"mails not sent": f"{unsent:.0f}"} if unsent else {}), numbers)


def fast(system: System, count: int, kept: Path, connections: int) -> Run:
    """Measures mails per second of the best sender, from the first recorded as sent to the last."""
    with system.trial() as trial:
        _owe(trial, count)
        sink, port = _start_sink(trial)
        syncs = system.wal_syncs()
        senders = _start_senders(trial, "tests.benchmarks.fast_mails", port, kept, connections)
        recorded = _until_recorded(trial, count, first=senders[0], second=senders[1], sink=sink)
        trial.wait(lambda: all(sender.poll() is not None for sender in senders))
        used = dict(recorded.cpu_ms)
        used = {"senders": used.pop("first") + used.pop("second"), **used}
        per_mail = (system.wal_syncs() - syncs) / count
        return Run(recorded.rate, _facts(connections, used, per_mail))


@dataclass(frozen=True)
class Recorded:
    """The sending of recorded mails: mails per second, and the CPU of a mail by kind of process in milliseconds."""

    rate: float
    cpu_ms: Mapping[str, float]


def _facts(connections: int, cpu_ms: Mapping[str, float], syncs: float) -> dict[str, str]:
    return {
        "connections a process": str(connections),
        "CPU ms per mail": listed(cpu_ms),
        "syncs a mail": f"{syncs:.3f}",
    }


def _until_recorded(trial: Trial, count: int, **kinds: subprocess.Popen[bytes]) -> Recorded:
    """Waits until all mails are recorded as sent; the CPU counts from the first on."""
    meter = trial.meter(**kinds)
    trial.wait(lambda: trial.number(SENT), pause=SHORT_LOOK_SECONDS)
    before, earlier = meter.read(), trial.number(SENT)
    trial.wait(lambda: trial.number(SENT) >= count, pause=SHORT_LOOK_SECONDS)
    used = since(before, meter.read())
    return Recorded(trial.number(RATE), {kind: 1000 * spent / (count - earlier) for kind, spent in used.items()})


def _owe(trial: Trial, count: int) -> None:
    """Has a worker enroll people who receive an invitation."""
    add_catalog(1)
    request = Enroll(contract=contract(0), people=people(count), policy=Policy.UNTIL_FULL)
    with transaction() as session:
        accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="mails")
    worker = trial.workers("rosters", "enrollments", processes=1, threads=2)
    trial.wait(lambda: trial.number("SELECT count(finished_at) FROM job"))
    trial.stop(worker)


def _start_sink(trial: Trial, keep: Path | None = None) -> tuple[subprocess.Popen[bytes], int]:
    port_file = trial.folder / "port"
    sink = trial.start("tests.benchmarks.sink", str(port_file), *([str(keep)] if keep else []))
    trial.wait(port_file.exists)
    return sink, int(port_file.read_text())


def _start_senders(trial: Trial, module: str, port: int, kept: Path, connections: int) -> list[subprocess.Popen[bytes]]:
    """Starts the processes of a limit, and lets them begin together once all are connected."""
    go = trial.folder / "go"
    senders = []
    for share in range(PROCESSES):
        values = (port, kept, share, PROCESSES, connections, go)
        senders.append(trial.start(module, *map(str, values)))
    trial.wait(lambda: len(list(trial.folder.glob("go.*"))) == PROCESSES)
    go.touch()
    return senders


def plain(system: System, count: int, kept: Path, connections: int) -> Run:
    """Measures mails per second of aiosmtplib, from the first accepted to the last."""
    with system.trial() as trial:
        sink, port = _start_sink(trial)
        senders = _start_senders(trial, "tests.benchmarks.plain_mails", port, kept, connections)
        meter = trial.meter(first=senders[0], second=senders[1], sink=sink)
        used = before = meter.read()
        while all(sender.poll() is None for sender in senders):
            used = meter.read()
            time.sleep(SHORT_LOOK_SECONDS)
        trial.wait(lambda: all(sender.poll() is not None for sender in senders))
        logs = [trial.folder / f"{1 + share}.log" for share in range(PROCESSES)]
        times = [float(word) for log in logs for word in log.read_text().split()]
    spent = since(before, used)
    cpu_ms = {"senders": spent["first"] + spent["second"], "sink": spent["sink"]}
    facts = {"connections a process": str(connections), "CPU ms per mail": per_piece(cpu_ms, count)}
    return Run((count - 1) / (max(times) - min(times)), facts)
