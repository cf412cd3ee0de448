"""Restores a backup into an empty database, and tells what to expect when the processes start."""

from pathlib import Path
from typing import Annotated, Final

import typer

from models.label import clean_reason
from models.words import Code
from workers.cli.asking import asker
from workers.cli.edge import (
    COMMON_CODES,
    INVALID,
    REFUSED,
    UNAVAILABLE,
    UNFINISHED,
    command_app,
    edge,
    fail,
    print_json,
    tidy_end,
)
from workers.cli.options import AsJson
from workers.ops.backup import InvalidBackup
from workers.ops.dumping import SET_ASIDE, DumpFailed
from workers.ops.restoring import Restored, RestoreUnfinished, restore

HELP: Final = f"""Restore a backup into the database, which must be empty.

Stop all processes first. The backup is loaded in one transaction, its tables are brought to this release, its documents
are put into CERTIFICATE_STORE, all seats are compared, and events are numbered on from a million higher, so that
receivers of webhooks do not take them for old ones. Actions of operators that ran at the backup are stopped. It starts
nothing: when you have read what it found, start the processes. The audit trail keeps your name and the reason.

With --replace, what the database holds is set aside in the schema {SET_ASIDE} and deleted at the very end; when the
load fails, it is put back. The database needs room for both meanwhile.

What was accepted after the backup is gone: portals send it again under the same keys, and what is known is answered
as a repeat. Mails that the backup owes are sent, also those that were sent after it. docs/ops/runbook.md has the whole
list.

\b
Exit codes:
   0  restored, and the seats of all contracts add up
   1  nothing was changed: the database is not empty (--replace), processes
      are connected, an unfinished restore left the schema {SET_ASIDE},
      or the backup is of a later release; or it was restored, and seats
      do not add up, as they did not before
   2  wrong use of the command
  65  FILE is no whole backup, or the reason names an address; nothing was
      changed
{COMMON_CODES},
      or pg_restore is missing or failed; the database holds what it held
  75  loaded, and a later step failed: start no process, restore once more
"""

REFUSALS: Final = {
    "not_empty": "the database is not empty: nothing was changed. Give another, or --replace to delete what it holds",
    "in_use": "processes of matricule are connected: nothing was changed. Stop them first",
    "set_aside": f"the schema {SET_ASIDE} holds what an unfinished restore replaced: nothing was changed."
    " Put it back or drop it first (docs/ops/runbook.md)",
    "later_release": "the backup is of a later release than this one: nothing was changed. Install that release",
}

app = command_app()


@app.command(help=HELP)
def main(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="that matricule backup wrote", exists=True, dir_okay=False)
    ],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail; no name, no address")],
    replace: Annotated[bool, typer.Option("--replace", help="first delete what the database holds")] = False,
    as_json: AsJson = False,
) -> None:
    kept = clean_reason(reason)
    if isinstance(kept, Code):
        fail(INVALID, "the reason goes to the audit trail: a short line, without an address")
    with edge(), tidy_end():
        try:
            answer = restore(file, replace=replace, requested_by=asker(), reason=kept)
        except InvalidBackup as invalid:
            fail(INVALID, str(invalid))
        except DumpFailed as failed:
            fail(UNAVAILABLE, str(failed))
        except RestoreUnfinished as unfinished:
            fail(UNFINISHED, str(unfinished))
    if not isinstance(answer, Restored):
        fail(REFUSED, REFUSALS[answer])
    if as_json:
        print_json(answer.as_json())
    else:
        print(said(answer))
    if answer.drift:
        raise typer.Exit(REFUSED)


def said(restored: Restored) -> str:
    """Writes what was restored and found, and what to expect, a line each."""
    backup, left = restored.backup, restored.unfinished
    drift = ", ".join(one.reference for one in restored.drift)
    seats = f"the seats do not add up of: {drift}" if drift else f"the seats of {left.contracts} contracts add up"
    lines = [
        f"restored: the backup of {backup.taken_at:%Y-%m-%d %H:%M:%S} UTC, written by {backup.release}",
        f"seats: {seats}",
        f"jobs to go on: {left.jobs}; each is done once, whatever was done of it after the backup is gone",
        f"mails owed: {left.mails}; they are sent when mailers start, again if they were sent after the backup",
        f"documents: {restored.put} put back, {restored.damaged} left out because they were changed",
        f"actions stopped: {', '.join(map(str, restored.stopped)) or 'none'}; ask again for what is still wanted",
        "portals: let them send again, under the same keys, what they sent since then",
        "repeat by hand: keys revoked, people erased, addresses suppressed since then (docs/ops/runbook.md)",
    ]
    return "\n".join(lines)
