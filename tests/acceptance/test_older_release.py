"""Processes of the newest older release go on upon the tables of this one: migrations run before they are replaced."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from scripts.embedded.procfile import parse_procfile
from tests.kit.actors.mailers import wait_for_states
from tests.kit.builders.contracts import seats
from tests.kit.processes.support import PROJECT, Processes, rows, wait_until
from tests.kit.relay.relay import Relay
from tests.workers.cli.conftest import Call, call
from tests.workers.cli.test_seed import ALL
from workers.database import transaction
from workers.engine.rollout import this_release

pytestmark = pytest.mark.heavy

__all__ = ["call"]  # the fixture


def git(*words: str) -> str:
    """Returns the output of git; empty where it fails, as in a copy without a history."""
    try:
        done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the newest tagged release that is not this very commit."""
    tagged = git("describe", "--tags", "--abbrev=0", "HEAD")
    if tagged and git("rev-parse", f"{tagged}^{{commit}}") == git("rev-parse", "HEAD"):
        tagged = git("describe", "--tags", "--abbrev=0", "HEAD^")
    if not tagged:
        pytest.skip("this clone has no tag of an older release, so none is tried: git fetch --tags --unshallow")
    folder = tmp_path_factory.mktemp("older")
    archive = folder / "older.tar"
    subprocess.run(["git", "archive", f"--output={archive}", tagged], cwd=PROJECT, check=True)
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    return folder


def start(processes: Processes, older: Path, name: str, **environment: str) -> None:
    """Starts a line of the Procfile of the older release, with its code."""
    lines = {line.name: line.command for line in parse_procfile((older / "Procfile").read_text(encoding="utf-8"))}
    path = f"{older}/scripts/embedded/bin:{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    log = (processes.folder / f"{len(processes.started)}.log").open("wb")
    with log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec env {lines[name]}"],
            cwd=older,
            env=os.environ | {"PYTHONPATH": str(older), "PATH": path} | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    processes.started.append(process)


def enrol(call: Call, word: str) -> None:
    """Sends a request to enrol one person."""
    asked = {"contract": "C-1", "people": [{"email": f"{word}@example.com", "first_name": "Zoé", "last_name": "Le Dû"}]}
    assert call("enqueue", "enroll", "--file", "-", "--key", word, stdin=asked).code == 0


def unfinished() -> list[tuple[object, ...]]:
    return rows("SELECT kind, state, due_at - now(), failures FROM job WHERE finished_at IS NULL")


def test_older_processes_do_work_on_the_newer_tables(call: Call, processes: Processes, older: Path) -> None:
    call("seed", "-", stdin=ALL)
    with Relay() as relay:
        for name in ("worker", "mailer", "clock"):
            start(processes, older, name, SMTP_URL=relay.url)
        for word in ("anne", "bob"):
            enrol(call, word)
        wait_until(lambda: not unfinished(), say=lambda: f"{unfinished()} {processes.logs()[-3000:]}")
        wait_for_states(processes, sent=2)
        assert rows("SELECT count(*) FROM process WHERE release = :this", this=this_release()) == [(0,)]
        processes.worker("enrollments")  # one of this release beside them
        for word in ("carl", "dora"):
            enrol(call, word)
        wait_until(lambda: not unfinished(), say=lambda: f"{unfinished()} {processes.logs()[-3000:]}")
        wait_for_states(processes, sent=4)
    assert rows("SELECT DISTINCT state FROM job") == [("succeeded",)]
    assert rows("SELECT count(*) FROM job_attempt") == [(0,)]
    with transaction() as session:
        assert seats(session) == 4
