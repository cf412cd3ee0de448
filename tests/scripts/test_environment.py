"""Before its work, every script finds or builds .venv, or says in one line why it cannot. The environments here are
real.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from scripts.embedded.parts import _exports
from scripts.embedded.places import SHORT_ROOT
from tests.kit.processes.support import PROJECT

pytestmark = pytest.mark.heavy

NOBODY = 65534
NOTHING: Mapping[str, str] = {}
SYSTEM_PYTHON = Path("/usr/bin/python3")
SCRIPT = """#!/usr/bin/env bash
source "$(dirname "$0")/environment" {needs}
echo "ready, database ${{DATABASE_URL:-none}}, redis ${{REDIS_URL:-none}}, in $PWD"
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


@pytest.fixture
def checkout() -> Iterator[Path]:
    """Creates a checkout that all users may enter; its lock names no package, so its environment is plain Python."""
    folder = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-checkout-"))
    folder.chmod(0o755)
    here = folder / "here"
    (here / "scripts").mkdir(parents=True)
    for name in ("scripts/environment", "scripts/lacking.py", "pyproject.toml"):
        shutil.copy(PROJECT / name, here / name)
    (here / "requirements-dev.lock").write_text("# nothing\n")
    for needs in ("production", "embedded", "development"):
        (here / "scripts" / needs).write_text(SCRIPT.format(needs=needs))
        (here / "scripts" / needs).chmod(0o755)
    yield here
    shutil.rmtree(folder)


def command(checkout: Path, needs: str = "production", given: Mapping[str, str] = NOTHING) -> dict[str, object]:
    path = os.pathsep.join([str(Path(sys._base_executable).parent), "/usr/bin", "/bin"])  # type: ignore[attr-defined]
    return {"args": [checkout / "scripts" / needs], "env": {"PATH": path, **given}, "cwd": "/", "text": True}


def run(
    checkout: Path, needs: str = "production", *, user: int | None = None, given: Mapping[str, str] = NOTHING
) -> tuple[int, str, str]:
    """Returns exit code and both outputs of a script that is called from another folder."""
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(  # type: ignore[call-overload]
        **command(checkout, needs, given), **identity, capture_output=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


def venv_made_by_hand(checkout: Path, *extras: str, python: Path = Path(sys.executable)) -> Path:
    """Creates a .venv as `pip install` leaves it: with our direct dependencies, without our mark."""
    venv = checkout / ".venv"
    subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    (packages,) = venv.glob("lib/python*/site-packages")
    for line in sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"]):
        name = re.split(r"[^a-z0-9-]", line)[0]
        info = packages / f"{name.replace('-', '_')}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    return venv


def ended() -> int:
    """Returns the pid of an ended process."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def is_built(checkout: Path) -> bool:
    return f"{checkout}/.venv/bin/" in (checkout / ".venv/bin/pip").read_text().splitlines()[0]


def test_built_once_then_again_when_the_lock_changed_or_the_checkout_moved(checkout: Path) -> None:
    code, out, said = run(checkout)
    assert (code, out, len(said.splitlines())) == (0, "ready, database none, redis none, in /\n", 1)
    assert is_built(checkout)
    assert run(checkout) == (0, out, "")
    (checkout / "requirements-dev.lock").write_text("# changed\n")
    assert "Building .venv" in run(checkout)[2]
    moved = checkout.rename(checkout.with_name("moved"))
    assert "Building .venv" in run(moved)[2]
    assert is_built(moved)
    assert run(moved) == (0, out, "")
    assert [path.name for path in moved.glob(".venv*")] == [".venv"]


def test_a_builder_waits_for_another_and_goes_on_when_that_one_dies(checkout: Path) -> None:
    builder = subprocess.Popen(["sleep", "600"])
    (checkout / ".venv-building").symlink_to(f"pid-{builder.pid}")
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "built-from.lock").touch()
    (checkout / ".venv" / "half-made").touch()
    second = subprocess.Popen(  # type: ignore[call-overload]
        **command(checkout), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert f"Waiting for process {builder.pid}, which builds .venv" in second.stderr.readline()
    finally:
        builder.send_signal(signal.SIGKILL)
        builder.wait()
        _, said = second.communicate(timeout=120)
    assert (second.returncode, len(said.splitlines())) == (0, 1), said
    assert "Building .venv" in said
    assert is_built(checkout)
    assert not (checkout / ".venv" / "half-made").exists()


@pytest.mark.parametrize("needs", ["production", "embedded", "development"])
def test_a_venv_made_by_hand_is_never_removed_and_its_gaps_are_named(checkout: Path, needs: str) -> None:
    """This holds even after a builder died."""
    venv = venv_made_by_hand(checkout)
    (checkout / ".venv-building").symlink_to(f"pid-{ended()}")
    code, out, said = run(checkout, needs)
    assert (venv / "pyvenv.cfg").exists()
    if needs == "production":
        assert (code, out, said) == (0, "ready, database none, redis none, in /\n", "")
        return
    assert (code, out, len(said.splitlines())) == (69, "", 1)
    assert ("psutil" in said, "pytest" in said, "typer" in said) == (True, needs == "development", False)
    assert "remove .venv" in said
    assert "pip install -r requirements-dev.lock" in said


def test_a_venv_of_an_editor_and_a_dead_link_are_told_in_a_line(checkout: Path) -> None:
    venv = checkout / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    code, _, said = run(checkout)
    assert (code, len(said.splitlines()), "typer" in said) == (69, 1, True)
    assert "pip install -r requirements.lock" in said
    shutil.rmtree(venv)
    venv.symlink_to("nowhere")
    code, _, said = run(checkout)
    assert (code, len(said.splitlines()), venv.is_symlink()) == (69, 1, True)


def test_a_link_to_a_whole_environment_is_used_and_stays(checkout: Path) -> None:
    """Its mark is of another checkout and another lock, so it cannot be judged here."""
    elsewhere = venv_made_by_hand(checkout, "embedded", "dev").rename(checkout.with_name("shared"))
    (elsewhere / "built-from.lock").write_text("other\n")
    (checkout / ".venv").symlink_to(elsewhere)
    assert run(checkout, "development")[0] == 0
    assert (checkout / ".venv").is_symlink()
    assert (elsewhere / "pyvenv.cfg").exists()


@as_root
def test_a_checkout_that_cannot_be_written_is_told_in_a_line(checkout: Path) -> None:
    code, out, said = run(checkout, user=NOBODY)
    assert (code, out, len(said.splitlines())) == (69, "", 1)
    assert f"the right to write in {checkout}" in said


def test_no_room_for_the_environment_is_told_in_a_line(checkout: Path) -> None:
    """As with a full disk, making the link fails although the folder may be written."""
    tools = checkout / "tools"
    tools.mkdir()
    (tools / "ln").write_text("#!/bin/sh\necho 'ln: no space left on device' >&2\nexit 1\n")
    (tools / "ln").chmod(0o755)
    code, out, said = run(checkout, given={"PATH": f"{tools}:/usr/bin:/bin"})
    assert (code, out, len(said.splitlines())) == (69, "", 1)
    assert "no space left on device" in said


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "database there, redis a redis"),
        ({"DATABASE_URL": "mine"}, "database mine, redis a redis"),
        ({"REDIS_URL": "mine"}, "database there, redis mine"),
        ({"REDIS_URL": "stale", "MATRICULE_FROM_PARTS": "REDIS_URL PORT"}, "database there, redis a redis"),
    ],
)
def test_a_setting_not_given_comes_from_the_running_parts(checkout: Path, given: dict[str, str], found: str) -> None:
    venv_made_by_hand(checkout)
    (checkout / "var").mkdir()
    file = checkout / "var" / "environment"
    file.write_text(_exports({"DATABASE_URL": "there", "REDIS_URL": "a redis"}))
    assert run(checkout, given=given) == (0, f"ready, {found}, in /\n", "")


@as_root
@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="there is no Python here that another user can run for certain")
def test_the_settings_of_another_user_are_left_alone(checkout: Path) -> None:
    venv_made_by_hand(checkout, python=SYSTEM_PYTHON)
    (checkout / "var").mkdir()
    (checkout / "var" / "environment").write_text("export DATABASE_URL=there\n")
    (checkout / "var" / "environment").chmod(0o600)
    assert run(checkout, user=NOBODY) == (0, "ready, database none, redis none, in /\n", "")
