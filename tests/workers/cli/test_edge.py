"""Without a database every command prints one line and one exit code, without a traceback."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.kit.processes.support import PROJECT, change, forget, rows
from tests.workers.cli.conftest import Call
from workers.database import dispose_engine

COMMANDS = {
    "seed": ("-",),
    "enqueue": ("put_company", "--file", "-"),
    "status": (),
    "retry": (str(uuid4()),),
}
STDIN = {"seed": '{"companies": [{"reference": "a", "name": "A"}]}', "enqueue": '{"reference": "a", "name": "A"}'}


def run(name: str) -> subprocess.CompletedProcess[str]:
    """Runs the command from another folder, without the settings of a running demo."""
    forget()
    return subprocess.run(
        [PROJECT / "scripts" / "matricule", name, *COMMANDS[name]],
        input=STDIN.get(name, ""),
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "status"])
def test_an_unreachable_database_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/nothing")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    ran = run(name)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (69, "", 1)
    assert "database not reachable" in ran.stderr
    assert "secret" not in ran.stderr


def test_status_answers_while_the_database_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/nothing")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    ran = run("status")
    said = " ".join(ran.stdout.split())
    assert (ran.returncode, "PostgreSQL does not answer" in said, "Redis does not answer" in said) == (69, True, True)
    assert "secret" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "url", [None, "", "not a url with secret", "mysql://u:secret@h/d", "postgresql://u:secret@h:port/d"]
)
def test_settings_that_cannot_be_used_are_named(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATRICULE_VAR", "/nonexistent")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("DATABASE_URL", url)
    ran = run("status")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (69, 1)
    assert "DATABASE_URL" in ran.stderr
    assert "secret" not in ran.stderr


@pytest.mark.parametrize("url", ["", "localhost:6379/0", "redis://u:secret/6@h:1/0", "redis://h:1/0?secret=1"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_redis_that_cannot_be_meant_is_told_before_anything_is_done(
    name: str, url: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    ran = run(name)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (69, "", 1)
    assert "nothing was done: REDIS_URL: not redis://" in ran.stderr
    assert "secret" not in ran.stderr
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    forget()
    assert rows("SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM company)") == [(0, 0)]


BROKEN = """
import typer
from workers.cli.app import run
app = typer.Typer()
@app.command()
def main() -> None:
    raise KeyError("contract")
run(app, "broken")
"""


def test_an_error_of_the_command_itself_is_no_refusal() -> None:
    ran = subprocess.run([sys.executable, "-c", BROKEN], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, "KeyError" in ran.stderr) == (3, "", True)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_exit_codes(name: str) -> None:
    shown = subprocess.run(
        [PROJECT / "scripts" / "matricule", name, "--help"], capture_output=True, text=True, check=True
    ).stdout
    for code in ("\n     0  ", "\n     2  ", "\n     3  an error of the command itself", "\n    69  the database"):
        assert code in shown


def test_a_database_without_tables_says_what_to_do(servers: object, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres, name = servers.postgres, f"empty_{uuid4().hex[:8]}"  # type: ignore[attr-defined]
    postgres.create_database(name)
    monkeypatch.setenv("DATABASE_URL", postgres.url(name))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    ran = run("status")
    postgres.drop_database(name)
    assert (ran.returncode, ran.stderr.strip()) == (
        69,
        "the database has no tables of Matricule yet: run matricule migrate",
    )


@pytest.mark.parametrize("name", ["seed", "enqueue"])
def test_a_relative_file_is_read_from_the_current_folder(name: str, fresh_database: str, tmp_path: Path) -> None:
    """This holds even if the checkout has a file of that name; and modules of that folder are not imported."""
    (tmp_path / "pyproject.toml").write_text(STDIN[name])
    (tmp_path / "typer.py").write_text("raise SystemExit('not ours')\n")
    args = {"seed": ("pyproject.toml",), "enqueue": ("put_company", "--file", "pyproject.toml", "--wait", "0")}
    command = [str(PROJECT / "scripts" / "matricule"), name, *args[name]]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == (0 if name == "seed" else 75), ran.stderr
    assert rows("SELECT request->>'reference' FROM job" if name == "enqueue" else "SELECT reference FROM company") == [
        ("a",)
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"REDIS_URL": ""}, "REDIS_URL not set"),
        ({"LOG_LEVEL": "chatty"}, "LOG_LEVEL: Input should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
    ],
)
def test_a_setting_that_is_not_the_database_is_not_blamed_on_it(
    given: dict[str, str], said: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATRICULE_VAR", "/nonexistent")
    for variable, value in given.items():
        monkeypatch.setenv(variable, value) if value else monkeypatch.delenv(variable)
    ran = run("status")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (69, 1)
    assert ran.stderr.startswith(f"nothing was done: {said}")
    assert "database not reachable" not in ran.stderr


def test_redis_away_loses_nothing(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    ran = run("enqueue")
    assert (ran.returncode, '"state": "queued"' in ran.stdout) == (0, True)
    assert "wake.failed" in ran.stderr


def test_a_database_that_takes_no_writes_is_told_in_a_line(call: Call, fresh_database: str) -> None:
    change(f'ALTER DATABASE "{fresh_database}" SET default_transaction_read_only = on')
    dispose_engine()
    called = call("enqueue", "put_company", "--file", "-", stdin={"reference": "acme", "name": "Acmé"})
    assert (called.code, called.out, "takes no writes now" in called.err) == (69, "", True)
