"""Gives dead jobs, and mails that were not sent, all their attempts again."""

import getpass
import os
from typing import Annotated, Final
from uuid import UUID

import typer

from workers.cli.edge import COMMON_CODES, REFUSED, edge, run
from workers.database import transaction
from workers.engine.broker import wake
from workers.ops.retry import RetryResult, retry

HELP: Final = f"""Retry dead jobs, and mails that failed, expired or were left uncertain: all attempts again, now.

scripts/status lists the first of them with their errors; all are in the tables job (state dead) and email (state
failed, expired, or uncertain without due_at). A mail gets five more days; one that was left uncertain may arrive twice.
Who asked is kept in the audit trail.

\b
Exit codes:
   0  all of them were revived
   1  one or more is unknown, needs no retry, or is no longer kept
      (docs/retention.md); the others were revived
   2  wrong use of the command (an ID is not a UUID)
{COMMON_CODES}
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def main(ids: Annotated[list[UUID], typer.Argument(metavar="ID...", help="of jobs or mails")]) -> None:
    """The command."""
    answers = []
    for row_id in ids:
        with edge():
            with transaction() as session:
                answer = retry(session, row_id, requested_by=asker())
            if answer.queue:
                wake(answer.queue)
        print(f"{row_id}  {said(answer)}")
        answers.append(answer)
    if any(answer.answer != "revived" for answer in answers):
        raise typer.Exit(REFUSED)


def said(answer: RetryResult) -> str:
    """The answer as a line."""
    if answer.answer == "revived":
        return f"{answer.ledger} was {answer.state}: due again now on {answer.queue}"
    if answer.answer == "not_stuck":
        return f"{answer.ledger} is {answer.state}, which needs no retry: left alone"
    if answer.answer == "not_kept":
        return f"{answer.ledger} is {answer.state}, and what it asked for is no longer kept: left alone"
    return "unknown: neither a job nor a mail"


def asker() -> str:
    """The system user, for the audit trail."""
    try:
        return f"shell:{getpass.getuser()}"
    except (KeyError, OSError):  # a container without this user in its passwd
        return f"shell:{os.getuid()}"


if __name__ == "__main__":
    run(app, "retry")
