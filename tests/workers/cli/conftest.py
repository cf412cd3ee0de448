"""Commands are called in this process, on the test's own database, as a shell calls them."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from workers.cli.app import app


class Called(NamedTuple):
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Returns its standard output, read as JSON."""
        return json.loads(self.out)


Call = Callable[..., Called]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Returns a function that calls `matricule` with its words; `stdin` may be a text, bytes, or any value for JSON."""
    monkeypatch.setattr("workers.ops.snapshot.FRESH_SECONDS", 0.0)  # each call shows what the test did just before
    monkeypatch.setattr("workers.logs.configure_logs", lambda _: None)  # other tests of this process need their logs

    def run(*args: object, stdin: Any = None) -> Called:
        given = stdin if isinstance(stdin, str | bytes) or stdin is None else json.dumps(stdin)
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=given, prog_name="matricule")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Called(result.exit_code, result.stdout, result.stderr)

    return run
