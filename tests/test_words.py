"""Docstrings are plain sentences: they begin with no question word, and they name the person they speak of."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.kit.processes.support import PROJECT

COVERED = ("models", "scripts", "tests", "workers")
"""The folders that are read."""

BEGINNINGS = re.compile(r"(what|of|whose|who|whom|whoever|none to|nobody|somebody|anybody)\b", re.IGNORECASE)
WORDS = re.compile(r"\b(whoever|whomever|somebody|nobody|anybody|whose)\b", re.IGNORECASE)
CODE = re.compile(r"`[^`]*`|\"[^\"]*\"|« [^»]* »")


class Sentence(NamedTuple):
    """A docstring, of a definition or below a constant, and the line it begins on."""

    line: int
    text: str


def sentences(source: str) -> Iterator[Sentence]:
    """Yields each string that stands alone as a statement."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Sentence(node.lineno, node.value.value.strip())


def fault_of(text: str) -> str:
    """Returns the forbidden word of a docstring; code and quotations may contain any word."""
    plain = CODE.sub("x", text)
    found = BEGINNINGS.match(plain) or WORDS.search(plain)
    return found[0] if found else ""


def faults(path: Path) -> list[str]:
    """Lists the faulty docstrings of a file, as file:line, word and sentence."""
    return [
        f"{path.relative_to(PROJECT)}:{one.line}: {word!r} in {' '.join(one.text.split())!r}"
        for one in sorted(sentences(path.read_text(encoding="utf-8")))
        if (word := fault_of(one.text))
    ]


def files() -> list[Path]:
    """Lists the Python files of the covered folders."""
    places = [PROJECT / name for name in COVERED]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.py")))


def test_docstrings_are_plain_sentences() -> None:
    found = [fault for file in files() for fault in faults(file)]
    assert not found, "\n".join(["Say it as a sentence that names the actor:", *found])


def test_each_covered_place_has_python_files() -> None:
    read = files()
    for name in COVERED:
        assert any(file.is_relative_to(PROJECT / name) for file in read), name


def test_a_faulty_docstring_is_detected() -> None:
    source = 'def f():\n    """What is asked."""\n\n\nLIMIT = 3\n"""The limit for whoever asks."""\n'
    assert [(one.line, fault_of(one.text)) for one in sorted(sentences(source))] == [(2, "What"), (6, "whoever")]


def test_plain_sentences_code_and_quotations_are_accepted() -> None:
    accepted = ("Returns the jobs of a portal.", "Runs as `nobody`.", 'Shows « À qui ? » or "nobody".', "Often empty.")
    assert [fault_of(text) for text in accepted] == ["", "", "", ""]


def test_names_of_tests_have_at_most_70_characters() -> None:
    long = [
        f"{file.relative_to(PROJECT)}:{node.lineno}: {node.name}"
        for file in sorted((PROJECT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name) > 70
    ]
    assert not long, "\n".join(long)
