"""Gives dead jobs, and mails that were not sent, all their attempts again."""

from typing import Annotated, Final
from uuid import UUID

import typer

from workers.cli.asking import asker
from workers.cli.edge import COMMON_CODES, REFUSED, command_app, edge
from workers.database import transaction
from workers.engine.broker import wake
from workers.ops.retry import RetryResult, retry

HELP: Final = f"""Give dead jobs and unsent mails all their attempts again.

It retries mails that failed, expired or were left uncertain. `matricule status` lists the first of them with their
errors, `matricule jobs --state dead` the jobs; the mails are in the table email (state failed, expired, or uncertain
without due_at). A mail gets five more days; one that was left uncertain may arrive twice.
The audit trail keeps your name.

\b
Exit codes:
   0  all of them were revived
   1  one or more is unknown, needs no retry, or is no longer kept
      (docs/retention.md); the others were revived
   2  wrong use of the command (an ID is not a UUID)
{COMMON_CODES}
"""

app = command_app()


@app.command(help=HELP)
def main(ids: Annotated[list[UUID], typer.Argument(metavar="ID...", help="of jobs or mails")]) -> None:
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
    """Writes the answer as a line."""
    if answer.answer == "revived":
        return f"{answer.ledger} was {answer.state}: due again now on {answer.queue}"
    if answer.answer == "not_stuck":
        return f"{answer.ledger} is {answer.state}, which needs no retry: left alone"
    if answer.answer == "not_kept":
        return f"{answer.ledger} is {answer.state}, and what it asked for is no longer kept: left alone"
    return "unknown: neither a job nor a mail"
