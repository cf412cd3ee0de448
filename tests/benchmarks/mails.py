"""Measures invitations sent by two mailer processes, beside aiosmtplib alone with the same bytes and the same sink."""

import subprocess
import time
from pathlib import Path

from models.portal import LOCAL_PORTAL_ID
from models.words import Policy
from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.population import add_catalog, contract, people
from tests.benchmarks.system import LOOK_SECONDS, System, Trial
from tests.benchmarks.usage import per_piece, since
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.requests.enrollment import Enroll

PROCESSES, CONNECTIONS = 2, 4

SENT = "SELECT count(*) FROM email WHERE finished_at IS NOT NULL"
RATE = """
    SELECT (count(*) - 1) / extract(epoch FROM max(finished_at) - min(finished_at)) FROM email WHERE state = 'sent'"""


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures both, after an uncounted first run that provides the bytes for the limit."""
    count = 1_100 if short else 4_000
    kept = system.folder / "mails"
    mails(system, count, keep=kept)
    series = alternate(lambda: plain(system, count, kept), lambda: mails(system, count), rounds=1 if short else ROUNDS)
    return [ratio_figure("mails", series, unit="mails", goal=0.15, short=short)]


def mails(system: System, count: int, keep: Path | None = None) -> Run:
    """Measures mails per second, from the first recorded as sent to the last."""
    with system.trial() as trial:
        _owe(trial, count)
        sink, port = _start_sink(trial, keep)
        environment = {"SMTP_URL": f"smtp://127.0.0.1:{port}?tls=off", "SMTP_CONNECTIONS": str(CONNECTIONS)}
        mailers = trial.workers("emails_bulk", processes=PROCESSES, threads=2, **environment)
        meter = trial.meter(mailers=mailers, sink=sink)
        trial.wait(lambda: trial.number(SENT))
        before, earlier = meter.read(), trial.number(SENT)
        trial.wait(lambda: trial.number(SENT) >= count)
        facts = {"CPU ms per mail": per_piece(since(before, meter.read()), count - int(earlier))}
        unsent = trial.number("SELECT count(*) FROM email WHERE state <> 'sent'")
        return Run(trial.number(RATE), facts | ({"mails not sent": f"{unsent:.0f}"} if unsent else {}))


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


def plain(system: System, count: int, kept: Path) -> Run:
    """Measures mails per second, from the first accepted to the last."""
    with system.trial() as trial:
        sink, port = _start_sink(trial)
        go = trial.folder / "go"
        senders = []
        for share in range(PROCESSES):
            values = (port, kept, share, PROCESSES, CONNECTIONS, go)
            senders.append(trial.start("tests.benchmarks.plain_mails", *map(str, values)))
        trial.wait(lambda: len(list(trial.folder.glob("go.*"))) == PROCESSES)
        meter = trial.meter(first=senders[0], second=senders[1], sink=sink)
        used = before = meter.read()
        go.touch()
        while all(sender.poll() is None for sender in senders):
            used = meter.read()
            time.sleep(LOOK_SECONDS)
        trial.wait(lambda: all(sender.poll() is not None for sender in senders))
        logs = [trial.folder / f"{1 + share}.log" for share in range(PROCESSES)]
        times = [float(word) for log in logs for word in log.read_text().split()]
    spent = since(before, used)
    facts = {"CPU ms per mail": per_piece({"senders": spent["first"] + spent["second"], "sink": spent["sink"]}, count)}
    return Run((count - 1) / (max(times) - min(times)), facts)
