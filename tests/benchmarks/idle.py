"""Measures the CPU of the whole idle system: every line of the Procfile and the embedded servers."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from scripts.embedded.places import SHORT_ROOT, places
from scripts.embedded.procfile import RELEASE, parse_procfile
from scripts.embedded.run import LocalSystem
from tests.benchmarks.measure import Figure, Verdict, bound_figure
from tests.benchmarks.system import System
from tests.benchmarks.usage import Meter, OtherWork, since
from tests.kit.processes.support import PROJECT

SETTLING_SECONDS = 8.0
LOOK_SECONDS, MOST_LOOKS = 3.0, 20
MOST_OF_CORES = 0.25
MOST_PERCENT = 3.5

TICK = 0.01
"""Seconds: CPU is counted in hundredths."""

LINES = [line.name for line in parse_procfile((PROJECT / "Procfile").read_text()) if line.name != RELEASE]


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures the CPU over fifteen seconds, as a percentage of one core, and as a multiple of the mailbox.

    An idle system mostly wakes and sleeps, which costs one machine up to seven times what it costs another, the mailbox
    too: a bare server of aiosmtpd.
    """
    seconds = 3.0 if short else 15.0
    var = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-idle-"))
    var.chmod(0o755)  # PostgreSQL's user must be able to enter when we are root
    where = places(var)
    try:
        used, others = _idle(var, seconds)
    finally:
        for folder in {where.var, *where.outside}:
            shutil.rmtree(folder, ignore_errors=True)
    percents = {kind: 100 * spent / seconds for kind, spent in used.items()}
    facts = {"by process": ", ".join(f"{kind} {percent:.1f}" for kind, percent in percents.items())}
    total = sum(percents.values())
    unit = " % of a core"
    mailboxes = sum(used.values()) / max(used["mailbox"], TICK)
    return [
        bound_figure("idle", [total], at_most=MOST_PERCENT, unit=unit, facts=facts, short=short, others=others),
        Figure("idle / mailbox", "none", [mailboxes], "", Verdict.NONE, {}),
    ]


def _idle(var: Path, seconds: float) -> tuple[dict[str, float], float]:
    """Returns the CPU seconds of each process, and the share of the machine that other work used."""
    with (var / "output").open("w") as output, LocalSystem(var, procfile=PROJECT / "Procfile", output=output) as local:
        time.sleep(SETTLING_SECONDS)
        while len(lines := local.supervisor.pids() if local.supervisor else {}) < len(LINES):
            time.sleep(LOOK_SECONDS)
        parts = local.parts
        servers = {"PostgreSQL": parts.postgres, "Valkey": parts.valkey, "mailbox": parts.mailbox}
        roots = {kind: part.pid for kind, part in servers.items() if part is not None and part.pid is not None}
        meter = Meter(lines | roots)
        _settle(meter)
        work, before = OtherWork(meter), meter.read()
        time.sleep(seconds)
        return since(before, meter.read()), work.share()


def _settle(meter: Meter) -> None:
    """Waits until the processes have started: until they use about as much CPU as in the seconds before.

    While they start they use what the cores give, which is as even as rest.
    """
    starting = MOST_OF_CORES * LOOK_SECONDS * (os.cpu_count() or 1)
    used = _used(meter)
    for _ in range(MOST_LOOKS):
        earlier, used = used, _used(meter)
        if used < starting and used >= 0.8 * earlier:
            return


def _used(meter: Meter) -> float:
    before = meter.read()
    time.sleep(LOOK_SECONDS)
    return sum(since(before, meter.read()).values())
