"""Measures the CPU of the whole idle system: every line of the Procfile and the embedded servers."""

import os
import shutil
import subprocess
import sys
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

WAKES = 50
"""How many times a second the bare process wakes."""

WAKER = f"import time\nwhile True: time.sleep({1 / WAKES})"

LINES = [line.name for line in parse_procfile((PROJECT / "Procfile").read_text()) if line.name != RELEASE]


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures the CPU over fifteen seconds, as a percentage of one core, and in wakes of a process that does nothing.

    What an idle system uses is waking, which on one machine costs three times what it costs on another.
    """
    seconds = 3.0 if short else 15.0
    var = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-idle-"))
    var.chmod(0o755)  # PostgreSQL's user must be able to enter when we are root
    where = places(var)
    try:
        used, others, wake = _idle(var, seconds)
    finally:
        for folder in {where.var, *where.outside}:
            shutil.rmtree(folder, ignore_errors=True)
    percents = {kind: 100 * spent / seconds for kind, spent in used.items()}
    facts = {"by process": ", ".join(f"{kind} {percent:.1f}" for kind, percent in percents.items())}
    facts["a wake of a bare process"] = f"{1000 * wake:.3f} ms"
    total = sum(percents.values())
    unit = " % of a core"
    wakes = sum(used.values()) / seconds / wake
    return [
        bound_figure("idle", [total], at_most=MOST_PERCENT, unit=unit, facts=facts, short=short, others=others),
        Figure("idle, in bare wakes", "none", [wakes], " a second", Verdict.NONE, {}),
    ]


def _idle(var: Path, seconds: float) -> tuple[dict[str, float], float, float]:
    """Returns the CPU seconds of each process, the share of the machine that other work used, and those of one
    wake of a bare process beside it.
    """
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
        used, share = since(before, meter.read()), work.share()
        return used, share, _wake(seconds)


def _wake(seconds: float) -> float:
    """Returns the CPU seconds that a bare Python process takes to wake once and sleep again."""
    with subprocess.Popen([sys.executable, "-c", WAKER]) as process:
        try:
            time.sleep(1.0)
            meter = Meter({"waker": process.pid})
            before = meter.read()
            time.sleep(seconds)
            return since(before, meter.read())["waker"] / (WAKES * seconds)
        finally:
            process.kill()


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
