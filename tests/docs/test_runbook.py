"""docs/ops/runbook.md has a section for each alert and each problem, and types commands that there are."""

import re
import shlex
from typing import Any

import pytest
from typer import Context

from tests.docs.test_commands import find_command, shown_commands
from tests.docs.test_paths import anchors
from tests.kit.processes.support import PROJECT
from workers.cli.status import SENTENCES

RUNBOOK = PROJECT / "docs" / "ops" / "runbook.md"
ALERTS = PROJECT / "docs" / "ops" / "alerts.yml"

CODE = re.compile(r'"code": "(\w+)"|problem_of\(\s*"(\w+)"')
PLACEHOLDERS = {"ID": "0190a0a0-0000-7000-8000-000000000000", "FILE": str(RUNBOOK), "URL": "file:///srv/rh"}


def sections(heading: str) -> dict[str, str]:
    """The sections of the third level below a heading, by their names."""
    part = RUNBOOK.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^### (.+)\n((?:(?!### ).*\n?)*)", part, re.MULTILINE))


def alerts() -> list[tuple[str, str]]:
    """The alerts, each with its address of the runbook."""
    written = ALERTS.read_text(encoding="utf-8")
    return re.findall(r'- alert: (\w+)\n(?:(?!      - ).*\n)*? +runbook_url: "(.*)"', written)


def problems() -> set[str]:
    """The codes that the modules of the status can name."""
    found = (CODE.findall(file.read_text(encoding="utf-8")) for file in (PROJECT / "workers" / "ops").glob("*.py"))
    return {first or second for codes in found for first, second in codes} | set(SENTENCES)


def test_every_alert_has_a_section_and_leads_to_it() -> None:
    named = re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    assert list(sections("Alerts")) == named == [name for name, _ in alerts()]
    for name, address in alerts():
        anchor = name.lower() if name != "MatriculeProblem" else "{{ $labels.code }}"
        assert address == f"docs/ops/runbook.md#{anchor}"


def test_every_problem_has_a_section_with_its_code_for_an_anchor() -> None:
    assert len(problems()) > len(alerts()) > 0
    assert set(sections("Problems")) == problems()
    assert problems() <= anchors(RUNBOOK)


def test_every_section_says_what_it_means_where_to_look_what_to_do() -> None:
    for name, section in (sections("Alerts") | sections("Problems")).items():
        assert re.findall(r"^\*\*(.+?)\.\*\* \S", section, re.MULTILINE) == ["Means", "Look at", "Do"], name


def test_every_command_of_the_runbook_can_be_typed() -> None:
    shown = list(shown_commands(RUNBOOK))
    assert len(shown) > len(problems())
    for words in shown:
        command, rest = find_command(shlex.split(" ".join(words)))
        parsed(command, [PLACEHOLDERS.get(word, word) for word in rest])


def parsed(command: Any, words: list[str]) -> Context:
    """Reads the words as the shell would; raises click's error when an option or an argument is missing or wrong."""
    context: Context = command.make_context(command.name, words)
    return context


@pytest.mark.parametrize("words", ["why", "jobs --state sick", "schedules run reconcile", "mail preview --colour"])
def test_a_command_that_cannot_be_typed_is_noticed(words: str) -> None:
    command, rest = find_command(words.split())
    with pytest.raises(Exception, match=r"Missing|is not one of|No such option"):
        parsed(command, rest)
