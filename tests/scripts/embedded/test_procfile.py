import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.embedded.guard import send
from scripts.embedded.processes import wait_until
from scripts.embedded.procfile import (
    InvalidProcfile,
    ProcfileLine,
    ReleaseFailed,
    Supervisor,
    parse_formation,
    parse_procfile,
    restart_delay,
)

pytestmark = pytest.mark.heavy

Run = Callable[..., tuple[Supervisor, io.StringIO]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started: list[Supervisor] = []

    def begin(procfile: str, formation: str = "", grace: float = 10.0) -> tuple[Supervisor, io.StringIO]:
        output = io.StringIO()
        supervisor = Supervisor(
            parse_procfile(procfile),
            environment={**os.environ, "WORD": "bonjour"},
            formation=parse_formation(formation),
            folder=tmp_path,
            output=output,
            grace=grace,
        )
        started.append(supervisor)
        supervisor.start()
        return supervisor, output

    yield begin
    for supervisor in started:
        supervisor.stop()


def test_a_procfile_is_names_and_commands() -> None:
    text = "# all of it\n\nrelease: migrate now\n  web:  serve --url=http://x:1  \n"
    assert parse_procfile(text) == [
        ProcfileLine("release", "migrate now"),
        ProcfileLine("web", "serve --url=http://x:1"),
    ]


@pytest.mark.parametrize("text", ["web serve", "web:", ": serve", "we b: serve", "web: a\nweb: b"])
def test_a_bad_procfile_names_the_line(text: str) -> None:
    with pytest.raises(InvalidProcfile, match=r"Procfile line \d"):
        parse_procfile(text)


def test_a_formation_says_how_many() -> None:
    assert parse_formation("clock=2, web=0") == {"clock": 2, "web": 0}
    assert parse_formation("") == {}
    for wrong in ("clock", "clock=", "clock=two", "clock=-1"):
        with pytest.raises(InvalidProcfile, match="name=number"):
            parse_formation(wrong)


def test_a_formation_of_unknown_names_is_refused(run: Run) -> None:
    with pytest.raises(InvalidProcfile, match="cloak"):
        run("clock: sleep 600", "cloak=2")


@pytest.mark.parametrize(
    ("deaths", "chance", "seconds"),
    [(1, 0, 0.2), (1, 1, 0.4), (2, 0, 0.4), (4, 1, 3.2), (6, 1, 10), (6, 0, 5), (1000, 1, 10)],
)
def test_delays_double_up_to_ten_seconds(deaths: int, chance: float, seconds: float) -> None:
    assert restart_delay(deaths, chance) == pytest.approx(seconds)


def test_a_process_that_dies_is_restarted_and_its_output_shown(run: Run) -> None:
    supervisor, output = run("worker: sh -c 'echo $WORD; exec sleep 600'\nweb: sleep 600")
    assert wait_until(lambda: "worker  | bonjour\n" in output.getvalue(), 30)
    first = supervisor.pids()["worker"]
    send(first, signal.SIGKILL)
    assert wait_until(lambda: supervisor.pids().get("worker", first) != first, 30)
    assert "worker  | killed by SIGKILL; starts again in" in output.getvalue()
    assert wait_until(lambda: output.getvalue().count("bonjour") == 2, 30)


def test_a_clean_end_is_started_again_too(run: Run) -> None:
    _, output = run("worker: echo once more")
    assert wait_until(lambda: output.getvalue().count("once more") >= 3, 10)
    assert "ended with status 0" in output.getvalue()


def test_a_formation_runs_several_or_none(run: Run) -> None:
    supervisor, _ = run("clock: sleep 600\nweb: sleep 600\nworker: A=1 sleep 600", "clock=2,web=0")
    assert wait_until(lambda: set(supervisor.pids()) == {"clock.1", "clock.2", "worker"}, 30)


def test_the_rest_of_a_killed_processs_group_is_killed(run: Run, tmp_path: Path) -> None:
    supervisor, _ = run("worker: sh -c 'sleep 600 & echo $! > left.new; mv left.new left; wait'")
    assert wait_until((tmp_path / "left").exists, 30)
    left = int((tmp_path / "left").read_text())
    send(supervisor.pids()["worker"], signal.SIGKILL)
    assert wait_until(lambda: not send(left, 0), 30)


def test_all_stop_the_last_first_and_only_the_process_itself_is_told(run: Run, tmp_path: Path) -> None:
    """A dramatiq process that gets SIGTERM from both its master and us would drop its work."""
    child = "trap 'echo told twice; exit' TERM; touch $0.ready; while :; do sleep 0.05; done"
    (tmp_path / "child.sh").write_text(child)
    (tmp_path / "master.sh").write_text("sh child.sh & trap 'kill -KILL $!; echo bye; exit 0' TERM; wait")
    supervisor, output = run("web: sh master.sh\nworker: sh master.sh")
    assert wait_until((tmp_path / "child.sh.ready").exists, 30)
    assert wait_until(lambda: len(supervisor.pids()) == 2, 30)
    pids = supervisor.pids().values()
    supervisor.stop()
    said = [row.replace(" ", "") for row in output.getvalue().splitlines()]
    assert said.index("worker|stopping") < said.index("web|stopping")
    assert {"web|bye", "worker|bye", "web|stopped", "worker|stopped"} <= set(said)
    assert "told twice" not in output.getvalue()
    assert not any(send(pid, 0) for pid in pids)
    assert supervisor.pids() == {}


def test_a_process_that_does_not_stop_in_time_is_killed(run: Run) -> None:
    supervisor, output = run("""stubborn: sh -c 'trap "" TERM; echo deaf; sleep 600 & wait; wait'""", grace=0.3)
    assert wait_until(lambda: "| deaf" in output.getvalue(), 30)
    supervisor.stop()
    assert "did not stop in time: killed" in output.getvalue()
    assert supervisor.pids() == {}


def test_stopping_between_two_lives_ends_at_once(run: Run) -> None:
    supervisor, output = run("worker: false")
    assert wait_until(lambda: output.getvalue().count("starts again") >= 3, 10)
    stopped = threading.Thread(target=supervisor.stop)
    stopped.start()
    stopped.join(5)
    assert not stopped.is_alive()


def test_release_comes_first_and_must_succeed(run: Run, tmp_path: Path) -> None:
    run("worker: test -e released\nrelease: sh -c 'sleep 0.2; touch released'")
    assert (tmp_path / "released").exists()
    with pytest.raises(ReleaseFailed, match="status 3"):
        run("release: sh -c 'exit 3'\nworker: touch started")
    assert not (tmp_path / "started").exists()


def test_what_is_done_after_the_release_is_done_before_a_process_starts(tmp_path: Path) -> None:
    output = io.StringIO()
    lines = parse_procfile("release: echo migrated\nweb: sleep 600")
    supervisor = Supervisor(lines, environment=os.environ, folder=tmp_path, output=output)
    seen: list[tuple[bool, dict[str, int]]] = []
    supervisor.start(lambda: seen.append(("migrated" in output.getvalue(), supervisor.pids())))
    supervisor.stop()
    assert seen == [(True, {})]
