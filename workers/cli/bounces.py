"""Runs the reader of bounces; or reads what is given to it, once."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from models.bounce import BounceEffect, judge_report
from workers.bounces.maildir import Maildir, read_beginning
from workers.bounces.parsing import MOST_BYTES, read_report
from workers.bounces.reader import BounceReader, record_one, run
from workers.cli.edge import (
    COMMON_CODES,
    INVALID,
    UNFINISHED,
    check_settings,
    command_app,
    console,
    edge,
    fail,
    print_json,
)
from workers.cli.options import AsJson
from workers.database import is_transient
from workers.engine.wake import waking_transaction
from workers.mail.return_address import ReturnAddresses
from workers.settings import get_settings

MOST_FILES: Final = 100_000

HELP: Final = f"""Run the reader of bounces: mails that came back.

\b
  matricule bounces                    read BOUNCE_MAILDIR until a signal
  matricule bounces read -             read one report from a pipe
  matricule bounces read FOLDER        read a Maildir once
  matricule bounces read FOLDER --dry-run
                                       show what its files are, change nothing

A report is believed if it was sent to the return address of a mail (MAIL_RETURN_ADDRESS), which only we can make. Each
counts once. A Maildir is emptied: files that are no reports about our mails are kept in its folder cur for seven days.

With --dry-run any folder is read, with its folders; neither settings nor a database are needed.

\b
Exit codes:
   0  stopped by a signal; read, also when nothing was changed
   2  wrong use of the command
  {INVALID}  no such folder, or no Maildir; or no MAIL_RETURN_ADDRESS is set
  {UNFINISHED}  read -: try again later: the database is away, or the mail is
      still being sent; a mail server does so by itself
{COMMON_CODES}
"""

app = command_app()


@app.command(help=HELP)
def main(
    *,
    action: Annotated[str, typer.Argument(metavar="[read", help="to read once, and end")] = "",
    source: Annotated[str, typer.Argument(metavar="SOURCE]", help="a folder, or - for a pipe")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what the files are, and change nothing")] = False,
    as_json: AsJson = False,
) -> None:
    if action not in ("", "read") or bool(action) != bool(source):
        raise typer.BadParameter("either nothing, or: read FOLDER, read -")
    if (dry_run or as_json) and not action:
        raise typer.BadParameter("--dry-run and --json go with read")
    if as_json and not dry_run:
        raise typer.BadParameter("--json goes with --dry-run")
    if dry_run:
        _show(source, as_json=as_json)
    elif not action:
        check_settings()
        run()
    elif source == "-":
        _read_pipe()
    else:
        _read_once(Path(source))


def _show(source: str, *, as_json: bool) -> None:
    found = [_shown("-", sys.stdin.buffer.read(MOST_BYTES))] if source == "-" else _shown_files(Path(source))
    if as_json:
        print_json(found)
        return
    table = Table("file", "recipient", "kind", "status", box=None, pad_edge=False)
    for one in found:
        table.add_row(*one.values())
    console().print(table)


def _shown_files(folder: Path) -> list[dict[str, str]]:
    if not folder.is_dir():
        fail(INVALID, f"no folder: {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())[:MOST_FILES]
    return [_shown(str(path.relative_to(folder)), read_beginning(path) or b"") for path in paths]


def _shown(name: str, raw: bytes) -> dict[str, str]:
    verdict = judge_report(read_report(raw))
    return {"file": name, "recipient": verdict.recipient, "kind": verdict.kind.value, "status": verdict.status}


def _addresses() -> ReturnAddresses:
    addresses = ReturnAddresses.from_settings(get_settings())
    if addresses is None:
        fail(INVALID, "MAIL_RETURN_ADDRESS is empty: no report can be believed")
    return addresses


def _read_pipe() -> None:
    """Records the report on the standard input. All of it is read: the mail server would see a broken pipe."""
    raw = sys.stdin.buffer.read(MOST_BYTES)
    while sys.stdin.buffer.read(MOST_BYTES):
        pass
    check_settings()
    addresses = _addresses()
    try:
        with waking_transaction() as session:
            recorded = record_one(session, addresses, raw)
    except Exception as error:
        if not is_transient(error):
            raise
        fail(UNFINISHED, "the database is away: try again later")
    if recorded is not None and recorded.effect is BounceEffect.TOO_EARLY:
        fail(UNFINISHED, "its mail is still being sent: try again later")
    print("no report about a mail of ours" if recorded is None else recorded.effect.value)


def _read_once(folder: Path) -> None:
    check_settings()
    if not ((folder / "new").is_dir() and (folder / "cur").is_dir()):
        fail(INVALID, f"no Maildir, which has the folders new and cur: {folder}")
    with edge():
        counts = BounceReader(Maildir(folder), _addresses()).read_all()
    print(", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "nothing waits")
