import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.embedded.guard import send
from scripts.embedded.processes import wait_until
from scripts.embedded.run import LocalSystem, run

pytestmark = pytest.mark.heavy

Start = Callable[..., subprocess.Popen[str]]
GIVEN = {"DATABASE_URL": "x", "REDIS_URL": "x", "SMTP_URL": "x"}
PROCFILE = """
release: sh -c 'echo released; test -n "$LINK_KEYS"'
web: sh -c 'trap "echo served; exit 0" TERM; echo pid $$; while :; do sleep 0.1; done'
clock: sh -c 'echo ticking; exec sleep 600'
"""


@pytest.fixture
def procfile(var: Path) -> Path:
    file = var / "Procfile"
    file.write_text(PROCFILE)
    return file


def command(var: Path, procfile: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "scripts.embedded.run", f"--var={var}", f"--procfile={procfile}", *more]


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    return next(row for row in process.stdout if word in row)


def read_all(process: subprocess.Popen[str], *words: str) -> dict[str, str]:
    """Returns the line that contains each word, in any order."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    while len(found) < len(words):
        row = process.stdout.readline()
        assert row, f"it ended after {found}"
        found |= {word: row for word in words if word in row}
    return found


def test_a_signal_stops_the_processes_then_the_parts(var: Path, procfile: Path, start: Start) -> None:
    system = start(command(var, procfile, "--formation=clock=2"))
    said = read_all(system, "| pid ", "clock.1 | ticking", "clock.2 | ticking")
    web = int(said["| pid "].split()[3])
    assert (var / "environment").exists()
    system.send_signal(signal.SIGINT)
    system.send_signal(signal.SIGTERM)  # a second signal changes nothing
    rest, _ = system.communicate(timeout=30)
    assert system.returncode == 0
    assert "served" in rest
    assert "clock.2 | stopped" in rest
    assert not (var / "environment").exists()
    assert not send(web, 0)
    assert "database system is shut down" in (var / "postgres.log").read_text()


def test_a_second_one_says_who_is_running(var: Path, procfile: Path, start: Start) -> None:
    system = start(command(var, procfile), **GIVEN)
    read_until(system, "| pid ")
    second = start(command(var, procfile))
    said, _ = second.communicate(timeout=30)
    assert second.returncode == 75
    assert said == f"{var} is already running (pid {system.pid})\n"
    system.terminate()
    system.communicate(timeout=30)


def test_nothing_outlives_a_killed_parent_and_the_next_start_works(var: Path, procfile: Path, start: Start) -> None:
    system = start(command(var, procfile))
    web = int(read_until(system, "| pid ").split()[3])
    postgres = int((var / "postgres" / "18" / "postmaster.pid").read_text().split()[0])
    system.kill()
    assert wait_until(lambda: not send(web, 0) and not send(postgres, 0), 20)
    again = start(command(var, procfile))
    assert read_until(again, "released")
    read_until(again, "| pid ")
    again.terminate()
    assert again.wait(30) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [("release: false\nweb: sleep 600", "release ended with status 1"), ("nonsense", "Procfile line 1")],
)
def test_a_failure_is_told_in_one_line_and_leaves_nothing(var: Path, start: Start, text: str, said: str) -> None:
    (var / "Procfile").write_text(text)
    system = start(command(var, var / "Procfile"), **GIVEN)
    told, _ = system.communicate(timeout=30)
    assert system.returncode == 1
    assert said in told
    assert "Traceback" not in told
    assert not (var / "environment").exists()


def test_a_bad_formation_is_a_usage_error(var: Path, procfile: Path, start: Start) -> None:
    system = start(command(var, procfile, "--formation=clock"))
    told, _ = system.communicate(timeout=30)
    assert system.returncode == 2
    assert "name=number" in told


def test_relative_arguments_are_read_where_the_person_stands(var: Path, start: Start) -> None:
    """They are not read from the checkout, which has a Procfile too."""
    (var / "Procfile").write_text("release: false")
    command = [str(Path("scripts/dev").absolute()), "--var=data", "--procfile=Procfile"]
    system = start(["bash", "-c", 'cd "$0" && exec "$@"', str(var), *command], **GIVEN)
    told, _ = system.communicate(timeout=60)
    assert "release ended with status 1" in told
    assert (var / "data" / "link-keys").exists()


def test_the_addresses_it_tells_are_those_of_pages(var: Path, procfile: Path, start: Start) -> None:
    system = start(command(var, procfile), **GIVEN, LINK_BASE_URL="https://learn.example.fr")
    assert read_until(system, "http") == "links of the mails open at https://learn.example.fr\n"
    system.terminate()
    system.communicate(timeout=30)


class Pieces(io.StringIO):
    """Stores the text of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str, /) -> int:
        self.written.append(text)
        return super().write(text)


class Brief(LocalSystem):
    """Stops as soon as everything runs, as if the operator pressed Ctrl-C."""

    def keep(self) -> None:
        raise KeyboardInterrupt


def test_no_line_is_split_by_the_line_of_a_process(
    var: Path, procfile: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**GIVEN, "LINK_BASE_URL": "https://learn.example.fr"}.items():
        monkeypatch.setenv(name, value)
    output = Pieces()
    assert run(Brief(var, procfile=procfile, output=output)) == 0
    assert "links of the mails open at https://learn.example.fr\n" in output.written
    assert [piece for piece in output.written if not piece.endswith("\n")] == []
