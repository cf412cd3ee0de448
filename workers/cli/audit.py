"""Shows the audit trail: who asked for what, on whom, when, with which result."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from rich.table import Table

from workers.cli.edge import COMMON_CODES, INVALID, console, edge, fail, print_json, run
from workers.cli.options import account_of
from workers.database import Session, transaction
from workers.ops.audit_search import AuditEntry, find_company, search_audit

HELP: Final = f"""Show what was done, the latest first: to a person, for a company, by a job.

Several options narrow it down.

\b
Exit codes:
   0  shown, also when there is nothing
   2  wrong use of the command
  65  no such person or company
{COMMON_CODES}
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def main(
    *,
    person: Annotated[str, typer.Option(help="an address, or the identifier of an account")] = "",
    company: Annotated[str, typer.Option(help="the portal's reference of a company")] = "",
    portal: Annotated[str, typer.Option(help="whose reference it is")] = "local",
    job: Annotated[UUID | None, typer.Option(help="the identifier of a job")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """The command."""
    with edge(), transaction() as session:
        entries = search_audit(
            session,
            account=account_of(session, person) if person else None,
            company=_company(session, portal, company) if company else None,
            job=job,
            limit=limit,
        )
    if as_json:
        print_json([{name: _plain(value) for name, value in entry._asdict().items()} for entry in entries])
    else:
        console().print(_table(entries))


def _company(session: Session, portal: str, reference: str) -> UUID:
    return find_company(session, portal, reference) or fail(INVALID, "this portal has no such company")


def _table(entries: Sequence[AuditEntry]) -> Table:
    shown = Table(title=f"Audit trail ({len(entries)})", title_justify="left", box=None)
    for heading in ("when", "who", "what", "result", "on", "job"):
        shown.add_column(heading, overflow="fold")
    for entry in entries:
        who = " ".join(filter(None, (entry.portal, entry.requested_by)))
        on = entry.account_id or entry.subject_id or entry.company_id
        detail = json.dumps(entry.detail, ensure_ascii=False) if entry.detail else ""
        result = f"{entry.result} {detail}".strip()
        shown.add_row(
            f"{entry.at:%Y-%m-%d %H:%M:%S}", who, entry.action, result, str(on or ""), str(entry.job_id or "")
        )
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


if __name__ == "__main__":
    run(app, "audit")
