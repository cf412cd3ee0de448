"""The release of Matricule that this process runs; while one is rolled out, processes of two releases run."""

import re
import tomllib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


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
