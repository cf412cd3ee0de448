"""Retries, dismisses and cancels jobs and mails: a few by their identifiers, many as they were shown."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import typer

from models.label import clean_reason, names_address
from models.ops_action import (
    CANARY,
    REASON_FROM,
    SHOWN_FOR,
    TYPED_FROM,
    ActionVerb,
    RowOutcome,
    SkipReason,
    needs_reason,
)
from models.words import Code
from workers.cli.asking import asker
from workers.cli.edge import COMMON_CODES, INVALID, REFUSED, command_app, edge, fail, print_json
from workers.cli.filters import Kind, OfContract, OfPortal, OfTrouble, Queue, Rate, Since, Until
from workers.cli.options import AsJson
from workers.database import transaction
from workers.engine.broker import wake
from workers.ops.actions import AT_ONCE, ShownSet, act_at_once, confirm, show_chosen, show_named
from workers.ops.actions_parts import ActedRow
from workers.ops.row_filter import RowFilter

MANY: Final = f"""Up to {AT_ONCE} IDs are done at once. More of them, or a filter, are first shown: their number by
kind, error and contract. What was shown is then done by the clock, and nothing else: what gives up afterwards is not in
it, and a row that changed meanwhile is skipped. --dry-run only shows; --action ID does what was shown, within
{SHOWN_FOR.seconds // 60} minutes. From {REASON_FROM} rows on a --reason is needed. `matricule actions` shows how
far it is, stops and undoes it."""

CODES: Final = f"""\b
Exit codes:
   0  all were done, or many are shown or begun
   1  one or more is unknown or was left alone, or nothing was confirmed
   2  wrong use of the command (an ID is not a UUID)
  65  no reason, or it or --trouble names an address; nothing was changed
{COMMON_CODES}
"""

RETRY: Final = f"""Give dead jobs and unsent mails all their attempts again.

It retries mails that failed, expired or were left uncertain. A mail gets five more days; one that was left uncertain
may arrive twice. The audit trail keeps your name.

{MANY} A retry of many begins with a few rows, waits for them, and stops if half of them fail again.

\b
  matricule retry ID
  matricule retry --trouble "KeyError #" --contract CTR-2026-001 --dry-run

{CODES}"""

DISMISS: Final = f"""Leave dead jobs and unsent mails out of problems.

They are kept, and left out of problems, counts, alerts and `matricule errors`. They can still be retried, and it can be
undone.

{MANY}

{CODES}"""

CANCEL: Final = f"""Cancel jobs and mails that have not begun.

A job that has done a part, such as an import of a file, is left alone. Portals are told that their job is cancelled;
when it is undone, they are told once more at its end.

{MANY}

{CODES}"""

DONE: Final = {
    ActionVerb.RETRY: "{0.ledger} was {0.state}: due again now on {0.queue}",
    ActionVerb.DISMISS: "{0.ledger} is {0.state}: dismissed",
    ActionVerb.CANCEL: "{0.ledger} was {0.state}: cancelled",
}

UNFIT: Final = {
    ActionVerb.RETRY: "{0.ledger} is {0.state}, which needs no retry: left alone",
    ActionVerb.DISMISS: "{0.ledger} is {0.state} or dismissed already: left alone",
    ActionVerb.CANCEL: "{0.ledger} is {0.state} or has begun: left alone",
}

NOT_KEPT: Final = "{0.ledger} is {0.state}, and what it asked for is no longer kept: left alone"

REFUSALS: Final = {
    "unknown": "no action has this identifier",
    "other_verb": "this action was shown for another command",
    "too_late": "it was shown too long ago: show it again",
    "not_shown": "it was begun already: matricule actions show ID",
    "no_reason": f"from {REASON_FROM} rows on a --reason is needed",
    "not_running": "it is not being carried out",
    "not_ended": "it has not ended: stop it first",
    "undone": "it was undone already",
    "is_undo": "an undo cannot be undone: act on the rows again",
    "nothing": "there is nothing to undo: it changed no row, or was shown over 30 days ago",
}
"""The sentence for each refusal of an action."""

Ids = Annotated[list[UUID] | None, typer.Argument(metavar="[ID...]", help="of jobs or mails", show_default=False)]
State = Annotated[str, typer.Option(metavar="STATE", help="only in this state")]
Of = Annotated[Literal["", "job", "email"], typer.Option(metavar="job|email", help="only jobs, or only mails")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would be done, and do nothing")]
Shown = Annotated[UUID | None, typer.Option("--action", metavar="ID", help="do what was shown")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail; no name, no address")]
First = Annotated[int, typer.Option(metavar="NUMBER", min=0, max=1_000, help="try so many rows first")]

app = command_app()


@app.command(help=RETRY)
def retry(
    ids: Ids = None,
    *,
    of: Of = "",
    state: State = "",
    kind: Kind = "",
    queue: Queue = "",
    portal: OfPortal = "",
    contract: OfContract = "",
    trouble: OfTrouble = "",
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    action: Shown = None,
    reason: Reason = "",
    rate: Rate = None,
    canary: First = CANARY,
    as_json: AsJson = False,
) -> None:
    wanted = RowFilter(of, state, kind, queue, portal, contract, trouble, since, until)
    _Acting(ActionVerb.RETRY, _cleaned(reason), rate, canary, dry_run=dry_run, as_json=as_json).act(ids, wanted, action)


@app.command(help=DISMISS)
def dismiss(
    ids: Ids = None,
    *,
    of: Of = "",
    state: State = "",
    kind: Kind = "",
    queue: Queue = "",
    portal: OfPortal = "",
    contract: OfContract = "",
    trouble: OfTrouble = "",
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    action: Shown = None,
    reason: Reason = "",
    rate: Rate = None,
    as_json: AsJson = False,
) -> None:
    wanted = RowFilter(of, state, kind, queue, portal, contract, trouble, since, until)
    _Acting(ActionVerb.DISMISS, _cleaned(reason), rate, 0, dry_run=dry_run, as_json=as_json).act(ids, wanted, action)


@app.command(help=CANCEL)
def cancel(
    ids: Ids = None,
    *,
    of: Of = "",
    kind: Kind = "",
    queue: Queue = "",
    portal: OfPortal = "",
    contract: OfContract = "",
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    action: Shown = None,
    reason: Reason = "",
    rate: Rate = None,
    as_json: AsJson = False,
) -> None:
    wanted = RowFilter(of, "", kind, queue, portal, contract, "", since, until)
    _Acting(ActionVerb.CANCEL, _cleaned(reason), rate, 0, dry_run=dry_run, as_json=as_json).act(ids, wanted, action)


def _cleaned(reason: str) -> str:
    kept = clean_reason(reason) if reason else ""
    if isinstance(kept, Code):
        fail(INVALID, "the reason goes to the audit trail: a short line, without an address")
    return kept


class _Acting:
    """One call of a command that acts on rows."""

    def __init__(
        self, verb: ActionVerb, reason: str, rate: int | None, canary: int, *, dry_run: bool, as_json: bool
    ) -> None:
        self.verb, self.reason, self.rate, self.canary = verb, reason, rate, canary
        self.dry_run, self.as_json = dry_run, as_json

    def act(self, ids: Sequence[UUID] | None, wanted: RowFilter, action: UUID | None) -> None:
        """Does what the arguments say; exactly one of identifiers, a filter and an action may be given."""
        if sum((bool(ids), bool(wanted.given), action is not None)) != 1:
            raise typer.BadParameter("give IDs, or a filter, or --action")
        if names_address(wanted.trouble):
            fail(
                INVALID,
                "--trouble is kept with the action: an error as `matricule errors` shows it, without an address",
            )
        if action is not None:
            self._begin(action)
        elif ids and len(ids) <= AT_ONCE and not self.dry_run:
            self._act_at_once(ids)
        else:
            self._show(ids or (), wanted)

    def _act_at_once(self, ids: Sequence[UUID]) -> None:
        with edge():
            with transaction() as session:
                acted = act_at_once(session, self.verb, ids, asked_by=asker(), reason=self.reason)
            for queue in {row.queue for row in acted if row.queue}:
                wake(queue)
        found = {row.row_id: row for row in acted}
        if self.as_json:
            print_json([_as_json(row_id, found.get(row_id)) for row_id in ids])
        else:
            for row_id in ids:
                print(f"{row_id}  {_said(self.verb, found.get(row_id))}")
        if any(row_id not in found or found[row_id].outcome != RowOutcome.DONE for row_id in ids):
            raise typer.Exit(REFUSED)

    def _show(self, ids: Sequence[UUID], wanted: RowFilter) -> None:
        with edge(), transaction() as session:
            shown = (
                show_named(session, self.verb, ids, asked_by=asker())
                if ids
                else show_chosen(session, self.verb, wanted, asked_by=asker())
            )
        if self.as_json:
            print_json(shown._asdict())
        else:
            _print(shown)
        if not shown.expected or self.dry_run or self.as_json:
            return
        self._ask(shown)
        self._begin(shown.action)

    def _ask(self, shown: ShownSet) -> None:
        """Lets the operator confirm what was shown: many rows by typing their number."""
        if needs_reason(shown.expected) and not self.reason:
            fail(INVALID, f"{REFUSALS['no_reason']}: matricule {self.verb} --action {shown.action} --reason TEXT")
        wanted = str(shown.expected) if shown.expected >= TYPED_FROM else "yes"
        print(f"type {wanted} to {self.verb} them: ", end="", flush=True)
        if sys.stdin.readline().strip() != wanted:
            fail(REFUSED, f"\nnothing was changed; later: matricule {self.verb} --action {shown.action}")

    def _begin(self, action: UUID) -> None:
        with edge(), transaction() as session:
            answer = confirm(
                session,
                action,
                self.verb,
                asked_by=asker(),
                reason=self.reason,
                rate=self.rate,
                canary=self.canary,
            )
        if answer != "done":
            fail(INVALID if answer == "no_reason" else REFUSED, REFUSALS[answer])
        if self.as_json:
            print_json({"action": action, "state": "running"})
        else:
            print(f"begun; the clock does it: matricule actions show {action}")


def _as_json(row_id: UUID, row: ActedRow | None) -> dict[str, Any]:
    if row is None:
        return {"id": row_id, "outcome": "unknown"}
    return {"id": row_id, "ledger": row.ledger, "state": row.state, "outcome": row.outcome, "why": row.why}


def _said(verb: ActionVerb, row: ActedRow | None) -> str:
    """Writes what became of a row as a line."""
    if row is None:
        return "unknown: neither a job nor a mail"
    if row.outcome == RowOutcome.DONE:
        return DONE[verb].format(row)
    if row.why == SkipReason.UNFIT:
        return UNFIT[verb].format(row)
    return NOT_KEPT.format(row) if row.why == SkipReason.NOT_KEPT else f"{row.ledger} was left alone: {row.why}"


def _print(shown: ShownSet) -> None:
    if not shown.expected:
        print("no row is like this")
        return
    more = "; there are more, for another action" if shown.more else ""
    print(f"{shown.expected} rows, the oldest of {shown.oldest:%Y-%m-%d %H:%M} UTC{more}")
    if shown.not_kept:
        print(f"{shown.not_kept} of them can no longer be retried: what they asked for is no longer kept")
    named = {"kind": shown.by_kind, "error": shown.by_error, "contract": shown.by_contract}
    for heading, counts in named.items():
        for name, count in counts.items():
            print(f"  {count:>6}  {heading}: {' '.join(part for part in name.split('|') if part) or '-'}")
    print(f"matricule {shown.verb} --action {shown.action}  does this, and nothing else")
