"""The virtual environment of the alternatives, so that no installation of Matricule ever holds them."""

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from tests.benchmarks.system import BenchmarkBroken
from tests.kit.processes.support import PROJECT

LOCK: Final = Path(__file__).with_name("requirements.lock")
PLACE: Final = PROJECT / "var" / "alternatives"

PACKAGES: Final = ("celery", "kombu", "dramatiq", "procrastinate", "SQLAlchemy", "psycopg", "redis")
"""The packages that a figure names with their versions."""


def python() -> str:
    """Returns the interpreter; installs its packages the first time and when the lock file changed.

    Raises: BenchmarkBroken, when they cannot be installed.
    """
    mark, interpreter = PLACE / "built-from.lock", PLACE / "bin" / "python"
    if not mark.exists() or mark.read_bytes() != LOCK.read_bytes():
        print(f"Building {PLACE} from {LOCK.relative_to(PROJECT)} (once)…", file=sys.stderr)
        venv.create(PLACE, clear=True, with_pip=True)
        command = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            str(LOCK),
        ]
        done = subprocess.run([str(interpreter), *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkBroken(f"`alternatives` needs the packages of {LOCK}:\n{done.stderr}")
        mark.write_bytes(LOCK.read_bytes())
    return str(interpreter)


def versions() -> str:
    """Returns the versions of the alternatives and of what they share, as the lock file says."""
    locked = [line.split(" ")[0] for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line]
    found = dict(line.split("==") for line in locked)
    return ", ".join(f"{name} {found[name.lower()]}" for name in PACKAGES)
