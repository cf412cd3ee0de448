"""docs/ops/Containerfile makes one image from the lock files, which does not run as root."""

import re
import subprocess
import sysconfig
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.kit.processes.support import PROJECT

CONTAINERFILE = PROJECT / "docs" / "ops" / "Containerfile"
HADOLINT = Path(sysconfig.get_path("scripts")) / "hadolint"
LOCKED = re.compile(r"--require-hashes|--no-deps")


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words, on one line."""
    written = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return [(name, words) for name, words in re.findall(r"^([A-Z]+) (.*)$", written, re.MULTILINE)]


def words_of(name: str) -> list[str]:
    return [words for found, words in instructions() if found == name]


def lint(file: Path) -> subprocess.CompletedProcess[str]:
    command = [str(HADOLINT), "--no-color", "--failure-threshold", "style", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_no_fault() -> None:
    said = lint(CONTAINERFILE)
    assert (said.returncode, said.stdout) == (0, "")


def test_hadolint_would_find_one(tmp_path: Path) -> None:
    faulty = tmp_path / "Containerfile"
    faulty.write_text(CONTAINERFILE.read_text(encoding="utf-8").replace("3.11-slim-bookworm", "latest"))
    assert "DL3007" in lint(faulty).stdout


def test_everything_that_is_installed_is_locked() -> None:
    steps = [
        step for run in words_of("RUN") for step in re.split(r"&&|;", run) if re.search(r"pip (install|wheel)", step)
    ]
    assert len(steps) > 2
    assert all(LOCKED.search(step) for step in steps), steps
    assert not words_of("ADD")


def needed_by(name: str) -> set[str]:
    """Returns a package and all those that it needs here."""
    needs = [Requirement(one) for one in requires(name) or ()]
    wanted = [one.name for one in needs if one.marker is None or one.marker.evaluate()]
    return {name}.union(*map(needed_by, wanted))


def test_the_tools_that_make_the_wheel_are_in_the_lock_file() -> None:
    [names] = re.findall(r"/\^\((.*?)\)==/", CONTAINERFILE.read_text(encoding="utf-8"))
    lock = (PROJECT / "requirements-dev.lock").read_text(encoding="utf-8")
    assert set(names.split("|")) == set(re.findall(rf"^({names})==", lock, re.MULTILINE)) == needed_by("hatchling")


def test_what_is_copied_is_there_and_is_what_the_wheel_needs() -> None:
    copied = {word for words in words_of("COPY") if "--from" not in words for word in words.split()[:-1]}
    assert {word for word in copied if not (PROJECT / word).exists()} == set()
    packaged = re.search(
        r"^packages = \[(.*)\]$", (PROJECT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert packaged
    assert set(re.findall(r'"(\w+)"', packaged[1])) <= copied


def test_the_image_runs_as_no_root_in_a_folder_of_its_own() -> None:
    assert [name for name, _ in instructions()].count("FROM") == 2
    assert words_of("USER") == ["10001:10001"]
    [folder] = words_of("VOLUME")
    assert folder == f'["{words_of("WORKDIR")[-1]}"]'
    assert not words_of("ENTRYPOINT")  # each line of the Procfile is a command
