"""The alternatives to Matricule are locked on their own and installed nowhere else."""

import tomllib

from tests.benchmarks import __main__ as command
from tests.benchmarks.alternatives import place
from tests.kit.processes.support import PROJECT


def test_a_figure_names_the_version_of_each_alternative() -> None:
    named = dict(one.split(" ") for one in place.versions().split(", "))
    assert set(named) == set(place.PACKAGES)
    assert all(number[0].isdigit() for number in named.values())


def test_no_installation_of_matricule_has_the_alternatives() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "celery[redis]" in project["dependency-groups"]["alternatives"]
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "celery" not in (PROJECT / lock).read_text(encoding="utf-8")


def test_they_share_the_versions_of_our_own_packages() -> None:
    ours = (PROJECT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    theirs = place.LOCK.read_text(encoding="utf-8").splitlines()
    for package in ("dramatiq", "sqlalchemy", "psycopg", "redis"):
        [version] = [line for line in theirs if line.startswith(f"{package}==")]
        assert version in ours


def test_alternatives_are_measured_only_when_they_are_named() -> None:
    assert "alternatives" not in command.chosen(None)
    assert command.chosen(["alternatives"]) == ["alternatives"]
