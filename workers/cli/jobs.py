"""Lists the jobs of the ledger, and shows one."""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

import typer

from models.words import JobState
from workers.cli.columns import print_columns
from workers.cli.edge import (
    COMMON_CODES,
    LIST_CODES,
    REFUSED,
    UNAVAILABLE,
    command_app,
    edge,
    fail,
    print_json,
)
from workers.cli.filters import Kind, OfContract, OfPortal, Queue, Since, Until
from workers.cli.options import AsJson, is_called_alone
from workers.database import Session, transaction
from workers.errors import NotConfigured
from workers.ops.job_search import FoundJob, PersonToFind, find_sought, search_jobs
from workers.ops.row_filter import RowFilter
from workers.reading.jobs import show_job
from workers.security.address_tokens import tokens_of

HELP: Final = f"""List jobs, the latest first, or show one.

Several options narrow the list down. Jobs of schedules that succeeded are left out, unless --all, --state or --kind is
given. Of a queue or a contract the newest 20,000 jobs of each portal, kind and state are looked at; --until goes
further back. `matricule jobs show ID` prints one job with its result and failed attempts.

\b
  matricule jobs --state dead --since 2d
  matricule jobs --kind enroll --portal lms --limit 20 --json

{LIST_CODES}"""

SHOW: Final = f"""Print one job as JSON, with its result and failed attempts.

\b
Exit codes:
   0  shown, whatever the state of the job
   1  no job has this identifier
   2  wrong use of the command
{COMMON_CODES}
"""

app = command_app()


@app.callback(invoke_without_command=True, help=HELP)
def main(
    context: typer.Context,
    *,
    state: Annotated[JobState | None, typer.Option(help="only jobs in this state")] = None,
    kind: Kind = "",
    queue: Queue = "",
    portal: OfPortal = "",
    contract: OfContract = "",
    person: Annotated[
        str, typer.Option(metavar="ADDRESS|ID", help="only what enrolled, wrote to, changed or named this person")
    ] = "",
    since: Since = None,
    until: Until = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="also what the schedules did without trouble")] = False,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="at most so many")] = 50,
    as_json: AsJson = False,
) -> None:
    if not is_called_alone(context):
        return
    with edge(), transaction() as session:
        jobs = search_jobs(
            session,
            RowFilter("job", state or "", kind, queue, portal, contract, "", since, until),
            person=_person(session, person) if person else None,
            limit=limit,
            with_schedules=all_of_them or state is not None or kind != "",
        )
    if as_json:
        print_json([job._asdict() for job in jobs])
    else:
        _print(jobs, limit)


def _person(session: Session, said: str) -> PersonToFind:
    """Finds the person; ends the command when there is no key to find an address by."""
    try:
        tokens_of([])
    except NotConfigured as error:
        fail(UNAVAILABLE, str(error))
    return find_sought(session, said)


@app.command(help=SHOW)
def show(job: Annotated[UUID, typer.Argument(metavar="ID", help="the identifier of a job")]) -> None:
    with edge(), transaction() as session:
        found = show_job(session, job)
    print_json(found or fail(REFUSED, "no job has this identifier"))


def _print(jobs: Sequence[FoundJob], limit: int) -> None:
    if not jobs:
        print("no job is like this")
        return
    headings = ("id", "recorded (UTC)", "state", "kind", "portal", "why")
    print_columns(
        headings,
        [(job.id, f"{job.created_at:%Y-%m-%d %H:%M:%S}", job.state, job.kind, job.portal, job.why) for job in jobs],
    )
    if len(jobs) == limit:
        print(f"the latest {limit}; --limit shows more")
