"""scripts/demo --check runs twice on the same data: everything is as the file says, and nothing is doubled."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.demonstration.manager_page import PEOPLE
from scripts.embedded.places import SHORT_ROOT, places
from tests.kit.processes.support import PROJECT, wait_until

pytestmark = pytest.mark.heavy

FROM_TESTS = ("DATABASE_URL", "REDIS_URL", "SMTP_URL", "REDIS_NAMESPACE", "LINK_KEYS")

REFUSED = [address for _, _, address in PEOPLE if "+" in address]
"""The addresses of the second training that the local mailbox refuses."""


@pytest.fixture
def var() -> Iterator[Path]:
    """Creates a data folder that PostgreSQL's user can enter."""
    folder = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-demo-"))
    folder.chmod(0o755)
    where = places(folder)
    yield folder
    for place in {folder, *where.outside}:
        shutil.rmtree(place, ignore_errors=True)


def environment(var: Path) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in FROM_TESTS} | {"MATRICULE_VAR": str(var)}


def check(var: Path) -> subprocess.CompletedProcess[str]:
    command = [str(PROJECT / "scripts" / "demo"), "--check"]
    return subprocess.run(command, env=environment(var), capture_output=True, text=True, timeout=200, check=False)


def received(var: Path) -> set[str]:
    return {path.name for path in (var / "mailbox" / "new").iterdir()}


def test_the_main_job_is_done_once_however_often_it_is_asked(var: Path) -> None:
    first = check(var)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Every number is what the file says." in first.stdout
    assert "Inscriptions prévues 25 · Participants inscrits 25 · Places restantes 0" in first.stdout
    assert re.search(r"Gestion entreprise : http://127\.0\.0\.1:\d+/\n", first.stdout)
    assert "Their links open at http://127.0.0.1:" in first.stdout
    mails = received(var)
    second = check(var)
    assert second.returncode == 0, second.stdout + second.stderr
    assert received(var) == mails
    assert len(mails) == 26 + len(PEOPLE) - len(REFUSED)
    assert _left_running(var) == []


def test_it_stays_up_until_ctrl_c_and_a_second_one_is_told_in_a_line(var: Path) -> None:
    output = var / "output.txt"
    with output.open("wb") as file:
        command = [PROJECT / "scripts" / "demo"]
        demo = subprocess.Popen(command, env=environment(var), stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ctrl-C stops everything" in output.read_text(), seconds=150, say=output.read_text)
        second = check(var)
        assert (second.returncode, len(second.stderr.splitlines())) == (75, 1)
        assert re.search(r"already running \(pid \d+\)", second.stderr)
        asked = [str(PROJECT / "scripts" / "matricule"), "status"]
        status = subprocess.run(asked, env=environment(var), capture_output=True, text=True, check=False)
        assert status.returncode == 0, status.stdout + status.stderr
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=60) == 0
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(timeout=60)
    assert _left_running(var) == []


def _left_running(var: Path) -> list[str]:
    """Returns the processes that still name this data folder in their environment or command."""
    mark, left = str(var).encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark in words and state != "Z" and int(process.name) != os.getpid():
            left.append(process.name)
    return left
