"""Sets up, changes and lists inboxes: the folders rosters are dropped in."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.table import Table
from sqlalchemy import text

from models.expected_file import DEFAULT_GRACE
from models.portal import LOCAL_PORTAL_ID
from models.words import LOCALES, JobState, Policy
from workers.cli.asking import asker
from workers.cli.edge import COMMON_CODES, INVALID, LIST_CODES, REFUSED, command_app, console, edge, fail, print_json
from workers.cli.options import AsJson, duration
from workers.database import transaction
from workers.errors import NotConfigured
from workers.imports.inboxes import put_inbox
from workers.requests.base import read
from workers.requests.internal import PutInbox
from workers.sql import fetch

PUT: Final = f"""Set up an inbox, or change it.

What is not said has its default. The folder is anything fsspec can read (file:///srv/rh, s3://bucket/rh,
sftp://host/rh). Every minute each is looked into. A file that has stayed the same since the last look is imported
on the inbox's contract, then moved to done/ or rejected/ with a report and, beside it, the rows that were refused.
A file matricule.json in the folder, {{"contract": "CTR-2026-001"}}, says what the folder is for and must agree.
Credentials belong into the environment or fsspec's configuration, never into the address.

With --expected '0 6 * * 1-5' (a cron expression of five fields, read in Europe/Paris) `matricule status` tells of the
file that has not come by then, or by the end of --grace, until one comes, whatever becomes of it. A file counts for the
time it is nearest to, so it may come before its hour. Without --expected, none is expected.

\b
Exit codes:
   0  done
   2  wrong use of the command
  {INVALID}  no such portal, a field that is wrong (invalid_cron: --expected),
      or an address that cannot be used
{COMMON_CODES}
"""

# Lists inboxes with the number of files that wait and that were put away.
LIST = text("""
    SELECT p.name AS portal, i.reference, i.contract, i.url, i.policy, i.paused, i.scanned_at, i.trouble,
      i.expected, i.grace_seconds, i.expected_since, i.arrived_at,
      count(f.name) FILTER (WHERE f.put_away_at IS NULL) AS waiting, count(f.put_away_at) AS put_away,
      coalesce(json_agg(json_build_object('name', f.name, 'seen_at', f.seen_at, 'job', f.job_id, 'refused', f.refused,
        'trouble', f.trouble) ORDER BY f.name) FILTER (WHERE f.put_away_at IS NULL), '[]') AS files
    FROM inbox i JOIN portal p ON p.id = i.portal_id LEFT JOIN inbox_file f ON f.inbox_id = i.id
    GROUP BY p.name, i.id ORDER BY p.name, i.reference""")


class _ListedInbox(NamedTuple):
    portal: str
    reference: str
    contract: str
    url: str
    policy: str
    paused: bool
    scanned_at: datetime | None
    trouble: str | None
    expected: str | None
    grace_seconds: int
    expected_since: datetime | None
    arrived_at: datetime | None
    waiting: int
    put_away: int
    files: list[dict[str, Any]]


app = command_app()


@app.command(help=PUT)
def put(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="the name of the inbox")],
    *,
    contract: Annotated[str, typer.Option(metavar="REFERENCE", help="the portal's reference of the contract")],
    url: Annotated[str, typer.Option(metavar="URL", help="the folder")],
    portal: Annotated[str, typer.Option(metavar="NAME", help="the portal of the contract")] = "local",
    policy: Annotated[Policy, typer.Option(help="what to do when not everybody can be enrolled")] = Policy.UNTIL_FULL,
    no_mails: Annotated[bool, typer.Option("--no-mails", help="send the people enrolled no mail")] = False,
    report_to: Annotated[str, typer.Option(metavar="ADDRESS", help="address to send the summary of each file to")] = "",
    locale: Annotated[str, typer.Option(metavar="LOCALE", help="language of the reports: fr or en")] = LOCALES[0],
    most_changed: Annotated[
        int | None,
        typer.Option(metavar="PERCENT", help="refuse a file that would add more than this percent of the participants"),
    ] = None,
    full_sync: Annotated[bool, typer.Option("--full-sync", help="report participants missing from the file")] = False,
    paused: Annotated[bool, typer.Option("--paused", help="leave the folder alone")] = False,
    expected: Annotated[
        str | None, typer.Option(metavar="CRON", help="when a file is expected, in Europe/Paris: '0 6 * * 1-5'")
    ] = None,
    grace: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="TIME", help="how late it may come: 30min, 2h or 1d [default: 1h]"),
    ] = None,
) -> None:
    body = {
        "portal": portal,
        "reference": reference,
        "contract": contract,
        "url": url,
        "policy": policy.value,
        "notify": not no_mails,
        "report_to": report_to or None,
        "report_locale": locale,
        "most_changed_percent": most_changed,
        "full_sync": full_sync,
        "paused": paused,
        "expected": expected,
        "grace_seconds": int((DEFAULT_GRACE if grace is None else grace).total_seconds()),
        "requested_by": asker(),
    }
    try:
        with edge(), transaction() as session:
            state, result = put_inbox(session, LOCAL_PORTAL_ID, None, read(PutInbox, json.dumps(body)))
    except NotConfigured as error:
        fail(INVALID, str(error))
    print_json(result)
    if state is not JobState.SUCCEEDED:
        raise typer.Exit(REFUSED)


@app.command("list", help="List the inboxes.", epilog=LIST_CODES)
def show(*, as_json: AsJson = False) -> None:
    with edge(), transaction() as session:
        found = fetch(session, _ListedInbox, LIST)
    if as_json:
        print_json([_plain(row) for row in found])
        return
    table = Table(title=f"Inboxes ({len(found)})", title_justify="left", box=None)
    for heading in ("inbox", "contract", "folder", "expected", "last look", "waiting", "put away", "trouble"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "last look")
    for row in found:
        table.add_row(
            f"{row.portal}/{row.reference}",
            row.contract,
            row.url,
            row.expected or "-",
            f"{row.scanned_at:%Y-%m-%d %H:%M}" if row.scanned_at else "never",
            str(row.waiting),
            str(row.put_away),
            "paused" if row.paused else _trouble(row),
        )
    console().print(table)


def _trouble(row: _ListedInbox) -> str:
    """Says what is wrong with the folder, or with how many of its files."""
    files = [one["trouble"] for one in row.files if one["trouble"]]
    return row.trouble or (f"{len(files)} of the files: {', '.join(sorted(set(files)))}" if files else "")


def _plain(row: _ListedInbox) -> dict[str, Any]:
    moments = {"scanned_at": row.scanned_at, "expected_since": row.expected_since, "arrived_at": row.arrived_at}
    return row._asdict() | {name: at and at.isoformat("T", "seconds") for name, at in moments.items()}
