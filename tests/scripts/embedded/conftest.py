import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.embedded.places import SHORT_ROOT, Places, places

PROJECT = Path(__file__).parents[3]
Start = Callable[..., subprocess.Popen[str]]


def remove(where: Places) -> None:
    for folder in {where.var, *where.outside}:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Creates a data folder that all users may enter, like ./var of an ordinary checkout."""
    folder = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-test-"))
    folder.chmod(0o755)
    yield folder
    remove(places(folder))


@pytest.fixture
def var() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def shared_var() -> Iterator[Path]:
    """Creates one data folder for all tests of a file, because creating the data of PostgreSQL takes a second."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def private_var() -> Iterator[Path]:
    """Creates a data folder below a folder that only its owner may enter, like the home of root."""
    home = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-test-"))
    yield home / "checkout" / "var"
    remove(places(home / "checkout" / "var"))
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the variables that would replace an embedded part."""
    for name in ("DATABASE_URL", "REDIS_URL", "SMTP_URL", "MAILBOX_URL", "PORT", "LINK_KEYS", "LINK_BASE_URL",
                 "CERTIFICATE_STORE", "OPS_PORT", "OPS_URL"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MATRICULE_FROM_PARTS", raising=False)


@pytest.fixture
def start(clean_environment: None) -> Iterator[Start]:
    """Starts commands of this project; kills those still running after the test, and their guard stops the rest."""
    running: list[subprocess.Popen[str]] = []

    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))

    def begin(command: Sequence[str], **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def start_python(start: Start) -> Start:
    """Starts a piece of Python code."""
    return lambda code, *arguments: start([sys.executable, "-c", code, *arguments])
