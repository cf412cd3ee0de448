"""Shows the audit trail: each change with its requester, person, moment and result."""

import json
from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

import typer

from workers.cli.columns import print_columns
from workers.cli.edge import COMMON_CODES, INVALID, command_app, edge, fail, print_json
from workers.cli.options import AsJson, account_of
from workers.database import Session, transaction
from workers.ops.audit_search import AuditEntry, find_company, search_audit

HELP: Final = f"""Show what was done to a person, for a company, by a job.

The latest comes first. Several options narrow it down.

\b
Exit codes:
   0  shown, also when there is nothing
   2  wrong use of the command
  65  no such person or company
{COMMON_CODES}
"""

app = command_app()


@app.command(help=HELP)
def main(
    *,
    person: Annotated[str, typer.Option(metavar="PERSON", help="an address, or the identifier of an account")] = "",
    company: Annotated[str, typer.Option(metavar="REFERENCE", help="the portal's reference of a company")] = "",
    portal: Annotated[str, typer.Option(metavar="NAME", help="the portal that the reference belongs to")] = "local",
    job: Annotated[UUID | None, typer.Option(metavar="ID", help="the identifier of a job")] = None,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="at most so many")] = 100,
    as_json: AsJson = False,
) -> None:
    with edge(), transaction() as session:
        entries = search_audit(
            session,
            account=account_of(session, person) if person else None,
            company=_company(session, portal, company) if company else None,
            job=job,
            limit=limit,
        )
    if as_json:
        print_json([entry._asdict() for entry in entries])
    else:
        _print(entries)


def _company(session: Session, portal: str, reference: str) -> UUID:
    return find_company(session, portal, reference) or fail(INVALID, "this portal has no such company")


def _print(entries: Sequence[AuditEntry]) -> None:
    rows = []
    for entry in entries:
        who = " ".join(filter(None, (entry.portal, entry.requested_by)))
        detail = json.dumps(entry.detail, ensure_ascii=False) if entry.detail else ""
        on = entry.account_id or entry.subject_id or entry.company_id
        rows.append((f"{entry.at:%Y-%m-%d %H:%M:%S}", who, entry.action, f"{entry.result} {detail}", on, entry.job_id))
    print_columns(("at (UTC)", "who", "what", "result", "on", "job"), rows)
