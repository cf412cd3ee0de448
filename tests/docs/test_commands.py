"""Every command that a page shows is one, with the options it shows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from tests.docs.test_paths import pages
from tests.kit.processes.support import PROJECT
from workers.cli.app import Unloaded, app

CODE = re.compile(r"```\n(.*?)```|`([^`]+)`", re.DOTALL)
COMMAND = re.compile(r"(?<![\w./])(?:scripts/)?matricule ([a-z-][^|>#;`]*)")


def shown_commands(page: Path) -> Iterator[list[str]]:
    """The words behind `matricule` wherever the page shows it in code."""
    for block, inline in CODE.findall(page.read_text(encoding="utf-8")):
        for line in (block or inline).replace("\\\n", " ").splitlines():
            yield from (shown.split() for shown in COMMAND.findall(line))


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the words that are left for it."""
    command: Any = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
        if isinstance(command, Unloaded):
            command = command.load()
    return command, words


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_what_a_page_types_is_a_command(page: Path) -> None:
    for words in shown_commands(page):
        command, rest = find_command(words)
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, words
