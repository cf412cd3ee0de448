"""The command `matricule`: its table shows the help of each command without importing it, and shells complete it."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import workers.cli
from tests.kit.processes.support import PROJECT
from tests.workers.cli.conftest import Call
from workers.cli.app import SECTIONS, Command, Group

HEAVY = {"alembic", "dramatiq", "fastapi", "jinja2", "pydantic", "redis", "rich.table", "sqlalchemy", "structlog"}
COMPLETED = """
eval "$(_MATRICULE_COMPLETE=source_bash "$1")"
COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
_matricule_completion "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def commands() -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yields each command with the words an operator types."""
    for section in SECTIONS.values():
        for name, entry in section.items():
            if isinstance(entry, Group):
                yield from (((name, inner), command) for inner, command in entry.commands.items())
            else:
                yield (name,), entry


def cpu_seconds(*arguments: str) -> float:
    """Returns the shortest CPU time of three runs of this Python."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=PROJECT, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def completed(*words: str) -> list[str]:
    """Returns the completions that bash offers for the last of these words."""
    command = ["bash", "--norc", "-c", COMPLETED, "bash", str(PROJECT / "scripts" / "matricule"), "matricule", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.split()


def test_a_line_of_the_table_is_the_first_sentence_of_the_help(call: Call) -> None:
    for words, entry in commands():
        shown = call(*words, "--help")
        paragraphs = shown.out.split("\n\n")
        assert (shown.code, paragraphs[0].split()[: len(words) + 2]) == (0, ["Usage:", "matricule", *words])
        assert " ".join(paragraphs[1].split()) == entry.summary
        assert "Exit codes:" in shown.out, words
        assert max(map(len, shown.out.splitlines())) <= 80, words


def test_the_help_shows_each_command_on_a_line_and_groups_theirs(call: Call) -> None:
    lines = call("--help").out.splitlines()
    for section, entries in SECTIONS.items():
        assert f"{section}:" in lines
        for name, entry in entries.items():
            assert [line for line in lines if line.split() == [name, *entry.summary.split()]], name
            if isinstance(entry, Group):
                below = call(name, "--help").out.splitlines()
                for inner, command in entry.commands.items():
                    assert [line for line in below if line.split() == [inner, *command.summary.split()]], inner


def test_every_module_with_a_command_is_in_the_table() -> None:
    [package] = workers.cli.__path__
    files = [
        path.relative_to(package).with_suffix("") for path in Path(package).rglob("*.py") if path.stem != "__main__"
    ]
    names = {".".join(path.parts) for path in files if path.stem not in ("__init__", "app")}
    with_commands = {name for name in names if hasattr(import_module(f"workers.cli.{name}"), "app")}
    assert with_commands == {entry.place.partition(":")[0] for _, entry in commands()}


def test_the_help_imports_nothing_heavy_and_costs_what_typer_costs() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "workers.cli", "--help"]
    ran = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "typer" in imported
    assert imported & HEAVY == set()
    assert cpu_seconds("-m", "workers.cli", "--help") < 2 * cpu_seconds("-c", "import typer, rich")


def test_bash_completes_commands_and_options() -> None:
    assert set(completed("")) >= {name for section in SECTIONS.values() for name in section}
    assert completed("im") == ["import"]
    assert completed("import", "") == ["run", "check", "cancel", "undo", "model"]
    assert completed("person", "cor") == ["correct-email", "correct-name"]
    assert completed("jobs", "--st") == ["--state"]
    assert completed("jobs", "--state", "d") == ["dead"]


def test_completion_installs_itself_without_a_download(tmp_path: Path) -> None:
    """The calling process tells which shell it is; `true` keeps bash from becoming the command itself."""
    command = ["bash", "--norc", "-c", '"$0" --install-completion; true', str(PROJECT / "scripts" / "matricule")]
    environment = os.environ | {"HOME": str(tmp_path)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "completion installed" in ran.stdout, ran.stderr
    [installed] = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".bashrc"]
    assert "complete -o default -F _matricule_completion matricule" in installed.read_text()


@pytest.mark.parametrize(("words", "said"), [(("improt",), "'import'"), (("import", "chek"), "'check'")])
def test_a_mistyped_word_is_reported_with_the_likely_one(call: Call, words: tuple[str, ...], said: str) -> None:
    called = call(*words)
    assert (called.code, f"Did you mean {said}?" in called.err) == (2, True)
