"""Prints the dependencies of pyproject.toml that this Python lacks; exit code 1 when there are any.

python lacking.py production|embedded|development

Run by ``scripts/environment`` with a Python that the operator set up. It needs the standard library only, and says so
when that Python is too old.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

OLDEST = (3, 11)
EXTRAS = {"production": (), "embedded": ("embedded",), "development": ("embedded", "dev")}


def wanted(needed: str) -> list[str]:
    """The names of the direct dependencies, without versions and extras."""
    import tomllib  # noqa: PLC0415  # not in a Python that is too old

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in EXTRAS[needed])]
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for group in groups for line in group]


def installed(name: str) -> bool:
    """Whether this Python has it."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def lacking(needed: str) -> list[str]:
    """The direct dependencies that are not installed; the Python that is needed, when this one is too old."""
    if sys.version_info < OLDEST:
        return [f"Python {OLDEST[0]}.{OLDEST[1]} or newer"]
    return [name for name in wanted(needed) if not installed(name)]


if __name__ == "__main__":
    found = lacking(sys.argv[1])
    print(", ".join(found))
    sys.exit(bool(found))
