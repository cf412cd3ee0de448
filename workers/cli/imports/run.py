"""Imports a roster file from a shell: it is kept and recorded in the ledger; --wait shows a bar and a summary."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import text

from models.label import make_label
from models.words import LOCALES, Code, JobState, Policy, hints_of
from workers.cli.asking import EXIT_OF_STATE, new_key
from workers.cli.edge import COMMON_CODES, DEAD, UNFINISHED, command_app, console, edge, fail, print_json
from workers.cli.options import Key, Portal, Wait, WaitCommand
from workers.database import Session, transaction
from workers.engine.acceptance import AcceptedJob, find_portal
from workers.engine.broker import wake
from workers.i18n.catalogues import code_sentence
from workers.i18n.results import explain_result
from workers.imports.acceptance import accept_file, digest_of
from workers.imports.reports import errors_file, report_rows
from workers.reading.jobs import FINAL
from workers.requests.base import read
from workers.requests.imports import ImportRoster
from workers.sql import fetch_one

PAUSE: Final = 0.2
"""The time between two looks at a running job, in seconds."""

# Reads how far an import is, and its result once it is finished.
READ_PROGRESS = text("""
    SELECT j.state, j.position, r.rows, j.result FROM job j JOIN roster r ON r.job_id = j.id
    WHERE j.id = :job""")


class _Progress(NamedTuple):
    state: str
    position: int
    rows: int | None
    result: dict[str, Any] | None


HELP: Final = f"""Enrol the people of a file on a contract.

FILE is CSV, .xlsx or .ods. It and its job are recorded together; the answer is the job. The same file for the same
contract is the same job while it is being imported; afterwards it runs again, and people who are enrolled already cost
nothing. With --wait a bar shows how far it is, then a summary; --errors keeps the rows that were refused, to be
corrected and imported again.

\b
Exit codes:
   0  done; without --wait: accepted
   1  refused, a business answer: nothing was changed, the code says why
   2  wrong use of the command, or FILE cannot be opened
  65  invalid request, or the key was used for another one: problems as JSON
{COMMON_CODES}
  {DEAD}  dead: gave up after its attempts (matricule retry ID)
  {UNFINISHED}  not finished within the wait; it goes on, ask again with the same --key
"""

app = command_app()


@app.command(cls=WaitCommand, help=HELP)
def main(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)],
    *,
    contract: Annotated[str, typer.Option(metavar="REFERENCE", help="the portal's reference of the contract")],
    policy: Annotated[Policy, typer.Option(help="what to do when not everybody can be enrolled")] = Policy.UNTIL_FULL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would happen, change nothing")] = False,
    no_mails: Annotated[bool, typer.Option("--no-mails", help="send the people enrolled no mail")] = False,
    report_to: Annotated[str, typer.Option(metavar="ADDRESS", help="address to send the summary to")] = "",
    locale: Annotated[str, typer.Option(metavar="LOCALE", help="language of summary and reasons: fr or en")] = LOCALES[
        0
    ],
    errors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file to write the refused rows to; needs --wait")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="file to write every row to, with its code and reason, as JSON lines; needs --wait"
        ),
    ] = None,
    key: Key = "",
    portal: Portal = "local",
    wait: Wait = None,
) -> None:
    key = key or new_key()
    body = {"contract": contract, "policy": policy.value, "notify": not no_mails, "dry_run": dry_run,
            "report_to": report_to or None, "report_locale": locale}  # fmt: skip
    with edge():
        accepted = _accept(file, body, key=key, portal=portal)
        wake(accepted.queue)
        if wait is None:
            print_json({"key": key, "repeated": accepted.repeated, "job": str(accepted.job_id)})
            return
        found = _follow(accepted.job_id, wait)
        _tell(accepted.job_id, found, locale)
        if errors is not None and found.state in FINAL:
            _keep(errors, lambda session: errors_file(session, accepted.job_id, locale))
        if report is not None and found.state in FINAL:
            _keep(report, lambda session: _report(session, accepted.job_id, locale))
    if found.state in FINAL:
        raise typer.Exit(EXIT_OF_STATE[JobState(found.state)])
    fail(UNFINISHED, f"not finished within {wait:g} s; it goes on: ask again with --key {key}")


def _accept(file: Path, body: dict[str, Any], *, key: str, portal: str) -> AcceptedJob:
    with file.open("rb") as opened:
        given = body | {"file": digest_of(opened), "file_name": make_label(file.name, "file")}
        request = read(ImportRoster, json.dumps(given))
        with transaction() as session:
            return accept_file(session, find_portal(session, portal), opened, request, key=key)


def _follow(job_id: UUID, seconds: float) -> _Progress:
    """Returns the job once it is finished or the time is over; shows a bar on a terminal meanwhile."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    deadline = time.monotonic() + seconds
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("waiting", total=None)
        while True:
            with transaction() as session:
                found = fetch_one(session, _Progress, READ_PROGRESS, {"job": job_id})
            if found is None:
                raise LookupError(f"the import {job_id} is gone")
            if found.rows:
                bar.update(task, description="importing", total=found.rows, completed=found.position)
            left = deadline - time.monotonic()
            if found.state in FINAL or left <= 0:
                return found
            time.sleep(min(PAUSE, left))


def _tell(job_id: UUID, found: _Progress, locale: str) -> None:
    result = found.result or {}
    what = "Dry run, nothing was changed:" if result.get("dry_run") else "Import"
    console().print(f"{what} {job_id}: {found.state}", soft_wrap=True)
    table = Table(box=None)
    for heading in ("code", "rows", "meaning"):
        table.add_column(heading, overflow="fold")
    counts = sorted(result.get("counts", {}).items(), key=lambda one: -one[1])
    for code, number in (*counts, *result.get("hints", {}).items()):
        table.add_row(code, str(number), code_sentence(Code(code), locale))
    console().print(table)
    if code := result.get("code"):
        console().print(f"{code}: {code_sentence(Code(code), locale)}")
    if "remaining" in result:
        console().print(
            f"{result['enrolled_count']} of {result['planned_seats']} seats used, {result['remaining']} left"
        )


def _keep(path: Path, lines: Callable[[Session], Iterable[str]]) -> None:
    """Writes a file only its owner can read, because it is full of names."""
    with transaction() as session, path.open("w", encoding="utf-8", newline="") as file:
        path.chmod(0o600)
        file.writelines(lines(session))


def _report(session: Session, job_id: UUID, locale: str) -> Iterator[str]:
    for row, code, detail in report_rows(session, job_id):
        reason = code and explain_result(code, detail, locale)
        said: dict[str, Any] = {"line": row.line, "code": code, "reason": reason, "to_check": hints_of(detail)}
        said |= {"read": list(row.cells)} | ({"detail": detail} if detail else {})
        yield json.dumps(said, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"
