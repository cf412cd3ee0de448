"""Commands called in this process, on the test's own database, as a shell would call them."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner


class Called(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, read as JSON."""
        return json.loads(self.out)


Call = Callable[..., Called]


@pytest.fixture
def call() -> Call:
    """Calls a command with its arguments; `stdin` may be a text, bytes, or anything JSON can hold."""

    def run(app: typer.Typer, *args: object, stdin: Any = None) -> Called:
        given = stdin if isinstance(stdin, str | bytes) or stdin is None else json.dumps(stdin)
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=given)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Called(result.exit_code, result.stdout, result.stderr)

    return run
