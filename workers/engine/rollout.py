"""While a release is rolled out, processes of two releases run; each says its own with its heartbeat."""

import re
import tomllib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from sqlalchemy import text

from workers.database import Session
from workers.sql import fetch_values

PYPROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"

ALIVE_SECONDS: Final = 10
"""Seconds without a heartbeat after which a process counts as silent; it sends one every two seconds."""

# Reads the releases of the processes that are alive; of those that serve this queue, if one is named.
READ_RELEASES = text("""
    SELECT DISTINCT release FROM process
    WHERE seen_at > now() - make_interval(secs => :alive)
      AND (CAST(:queue AS text) = '' OR CAST(:queue AS text) = ANY(string_to_array(kind, ' ')))""")

ANOTHER_RUNS: Final = f"""(SELECT EXISTS (SELECT 1 FROM process pr WHERE pr.release NOT IN ('', :release)
    AND pr.seen_at > now() - make_interval(secs => {ALIVE_SECONDS})))"""
"""The SQL condition that a process of another release than the parameter ``release`` is alive."""


@lru_cache(maxsize=1)
def this_release() -> str:
    """Returns the version of the package that is installed, or of the checkout that runs."""
    try:
        return version("matricule")
    except PackageNotFoundError:
        return str(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])


def is_newer(release: str, than: str) -> bool:
    """Tells whether a release is newer than another; a text that is no version is never newer."""
    return _numbers(release) > _numbers(than)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", release)[:3])


def newer_release_runs(session: Session, queue: str = "") -> bool:
    """Tells whether a process of a newer release than this one is alive, which serves this queue if one is named."""
    running = fetch_values(session, str, READ_RELEASES, {"alive": ALIVE_SECONDS, "queue": queue})
    return any(is_newer(release, this_release()) for release in running)
