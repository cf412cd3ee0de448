"""Ends commands as a shell expects: by exit codes that mean something, and with one line instead of a traceback."""

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError

from models.words import Code
from workers.database import READ_ONLY, get_engine, is_transient, sql_state
from workers.errors import InvalidRequest, NotConfigured, Problem
from workers.logs import configure_logs, get_logger
from workers.settings import explain, get_settings

REFUSED: Final = 1
UNEXPECTED: Final = 3
INVALID: Final = 65  # EX_DATAERR of sysexits.h
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE
DEAD: Final = 70  # EX_SOFTWARE
UNFINISHED: Final = 75  # EX_TEMPFAIL

COMMON_CODES: Final = """\
   3  an error of the command itself: its traceback is on stderr, and whether
      anything was changed is not known
  69  the database is not reachable, or a setting cannot be used"""
"""Exit codes every command may end with, as its help tells them."""

LIST_CODES: Final = f"""\b
Exit codes:
   0  shown, also when there is none
   2  wrong use of the command
{COMMON_CODES}
"""
"""The exit codes of a command that shows a list."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the largest document that a command reads: 200,000 people with long names have half of it."""

UNDEFINED_TABLE: Final = "42P01"
HOW_TO_CONNECT: Final = "in a checkout, scripts/dev in another terminal gives one; else set DATABASE_URL and REDIS_URL"


def command_app(**options: Any) -> typer.Typer:
    """Makes the Typer application of a module: its help is plain, and no traceback shows values."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def read_document(file: BinaryIO) -> bytes:
    """Reads a document of requests; the whole of it is in memory.

    Raises: InvalidRequest with `request_too_large` when it is over ``MOST_BYTES``, of which no more is read.
    """
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InvalidRequest(Problem(Code.REQUEST_TOO_LARGE, "", f"over {MOST_BYTES} bytes"))
    return data


def end_of_crash(error: Exception) -> int:
    """Says how a command crashed; returns its exit code."""
    if isinstance(error, NotConfigured):
        print(error, file=sys.stderr)
        return UNAVAILABLE
    configure_logs("WARNING")
    get_logger().critical("command.crashed", exc_info=error)
    return UNEXPECTED


def fail(code: int, sentence: str) -> NoReturn:
    """Ends the command with one line on stderr."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(code)


def print_json(content: Any) -> None:
    """Prints one JSON document that people and programs can read."""
    print(to_json(content))


def to_json(content: Any) -> str:
    """Writes JSON that any encoding of Unicode can hold: half a surrogate pair, which a hostile name may have, stays
    the escape it was in the request.
    """
    text = json.dumps(content, ensure_ascii=False, indent=2, default=_plain)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_private(output: Path, content: Iterable[bytes]) -> None:
    """Writes a file of its own, never one that is there, nor behind a link: what is in it is personal data."""
    try:
        opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(INVALID, f"{output} cannot be written: {error.strerror}")
    with os.fdopen(opened, "wb") as file:
        file.writelines(content)


@contextmanager
def tidy_end() -> Iterator[None]:
    """Turns a signal that ends the process into SystemExit, so that the block can put away what it began.

    A second signal is ignored meanwhile. A signal that was ignored before (nohup) still is.
    """

    def end(signum: int, _: object) -> NoReturn:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    before = {one: handler for one, handler in before.items() if handler is not signal.SIG_IGN}
    try:
        for one in before:
            signal.signal(one, end)
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def console() -> Console:
    """Makes the console for tables: coloured on a terminal; plain, of 80 columns (COLUMNS changes that) in a pipe.

    Texts are shown as they are: `[/x]` or `:100:` in a reference is neither markup nor an emoji. What is to be coloured
    is given a ``style``, or is a ``rich.text.Text``.
    """
    return Console(highlight=False, soft_wrap=False, markup=False, emoji=False)


def _plain(value: object) -> str:
    """Writes an identifier or a time as JSON has it."""
    return value.isoformat() if isinstance(value, date) else str(value)


@contextmanager
def edge() -> Iterator[None]:
    """Ends the command with a line for faults that are no bug: wrong input, or a database that is away."""
    try:
        yield
    except InvalidRequest as refused:
        print_json({"accepted": False, **refused.as_json()})
        raise typer.Exit(INVALID) from None
    except ValidationError as error:
        fail(UNAVAILABLE, explain(error, how_to_set=HOW_TO_CONNECT))
    except (ArgumentError, ValueError, ModuleNotFoundError):  # not printed: their text may show the password
        if _url_is_usable():
            raise
        fail(UNAVAILABLE, "database not reachable: DATABASE_URL is not postgresql://user:password@host/name")
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != UNDEFINED_TABLE:
            raise
        fail(UNAVAILABLE, "the database has no tables of Matricule yet: run matricule migrate")
    except OperationalError as error:
        fail(UNAVAILABLE, _away(error))
    except Exception as error:
        if not is_transient(error):
            raise
        fail(UNAVAILABLE, _of_no_use(error))


def check_settings() -> None:
    """Ends a process at its start when a setting is missing or DATABASE_URL is none."""
    with edge():
        get_settings()
        get_engine()


def _url_is_usable() -> bool:
    try:
        get_engine()
    except (ArgumentError, ValueError, ModuleNotFoundError):
        return False
    return True


def _of_no_use(error: Exception) -> str:
    if sql_state(error) == READ_ONLY:
        return "the database takes no writes now, nothing was changed: is it a standby?"
    return f"database not reachable: {type(error).__name__}"


def _away(error: OperationalError) -> str:
    reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no answer"
    if getattr(error.orig, "sqlstate", None):  # it is there and says no: a lock or statement timeout, a full disk
        return f"the database could not do it now, nothing was changed: {reason}"
    return f"database not reachable: {reason} ({HOW_TO_CONNECT})"
