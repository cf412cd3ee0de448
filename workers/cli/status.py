"""Shows how Matricule is: queues, mails, contracts, processes, clock, database, drift."""

import shlex
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.paris import PARIS
from workers.cli.edge import COMMON_CODES, REFUSED, UNAVAILABLE, command_app, console, edge, print_json
from workers.cli.options import AsJson
from workers.ops.snapshot import read_snapshot
from workers.ops.status import SHOWN_CONTRACTS

SHOWN_OLDEST: Final = 2
"""The identifiers that are printed under the errors of a problem; --json has more."""

HELP: Final = f"""Show queues, mails and processes, and what needs a person.

Contracts are shown with their counters. Under each problem with jobs or mails stand up to ten, with the class and
reason of their last error; of more, each error once with its number and when it was first and last seen (UTC). --json
has the same under `problems`. `matricule retry ID` gives one its attempts again.

It is at most five seconds old: who looks within them is shown the same numbers, and so are the metrics. Numbers are
counted no further than to 10 000, those of one error to 250: then `10 000+` is shown. Sent and cancelled mails are
counted among the latest 10 000. Seats are compared each hour; the age of the last comparison is shown, and --seats
makes another one now.

\b
Exit codes:
   0  healthy
   1  to be looked at: a queue or a lane is paused; no process hears the
      requests of portals; Redis does not answer, does not write, or may
      lose what it is given; a process is frozen, works no more or fetches
      no work; no clock leads, or that of the database was ahead; work is
      due on a queue that no process serves, or has been for over a minute
      (fifteen on rosters, emails_bulk and maintenance), or is postponed for
      as long; a request that cannot be recorded and holds up the others, or
      that was refused within a day because the database failed on it alone;
      work of a kind that this release does not know; dead jobs; mails that
      failed, expired, were left uncertain, or are owed for over an hour,
      unless the fault is in their address; a mail relay that refuses us, or
      is left alone because it is at fault; a contract that a transaction
      holds for over ten seconds while work waits for it; seats that do not
      add up, or were not compared for an hour after they should have been;
      an inbox whose expected file has not come
   2  wrong use of the command
{COMMON_CODES}
"""

SENTENCES: Final = {
    "dead": "{count} dead on {subject}: see why, then matricule retry ID",
    "expired": "{count} not sent in time on {subject}: see why, then matricule retry ID",
    "uncertain": "{count} lost while the relay took them on {subject}: may have come; matricule retry ID sends again",
    "unsent": "{count} owed for over an hour on {subject}: see why; they are tried again by themselves",
    "queue_paused": "{what} is paused by {by} until {until} UTC ({reason}), {count} waiting; it goes on by itself, or"
    " at once by matricule queues resume {what}",
    "late": "{count} waiting on {subject}, the oldest for {age}: its process does not work, or the mail relay is away",
    "postponed": "{count} waiting on {subject}, the oldest for {age}: postponed again and again, see why",
    "lane_held": "{count} waiting on {subject}, the oldest for {age}: a transaction holds their contract, end it",
    "unknown_kind": "{count} of the kind {subject}, which this release does not know: dead after a day",
    "given_back": "the first of {count} {subject} is given back again and again ({class}), for {age}: the others wait",
    "not_recordable": "{count} of {subject} refused: the database failed on each alone ({class}), last {age} ago",
    "no_process": "no process serves {subject}: {count} waiting; start it{undo}",
    "no_database": "PostgreSQL does not answer or work ({class}): nothing is accepted or done; bring it back, processes"
    " go on by themselves. It says: {words}",
    "no_redis": "Redis does not answer: no portal can send a request, and work starts late; bring it back, even empty",
    "redis_refuses": "Redis refuses to write ({class}): no portal can send a request, and work starts late; cure what"
    " {class} names",
    "redis_evicts": "Redis deletes keys when its memory is full (maxmemory-policy {class}): requests can be lost; set"
    " noeviction",
    "redis_forgets": "Redis keeps no append-only file (appendonly no): requests are lost when it restarts; set"
    " appendonly yes",
    "deaf_process": "a process for {subject} (pid {pid}) lives and fetches no work ({class}): see its REDIS_URL",
    "stuck_process": "the process for {subject} (pid {pid}) lives and works no more ({class}): it ends itself and is"
    " started anew; restart it if that takes over three minutes",
    "silent_process": "the process for {subject} (pid {pid}) is frozen: restart it",
    "no_clock": "no clock leads: nothing is woken again, rescued or scheduled; start matricule clock{undo}",
    "clock_was_ahead": "the clock of the {subject} was ahead by {age} and was set back: look at its time service",
    "void_schedule": "the schedule {subject} is planned later than it can be: a clock that leads plans it anew",
    "unreadable_inbox": "the inbox {subject} cannot be read ({class}): files dropped there are not imported",
    "unreadable_inbox_file": "{count} files in the inbox {subject} cannot be taken ({class}): matricule inbox list",
    "relay_refuses": "the mail relay {subject} refuses our mails, and nothing was accepted since: mend what it names."
    " It says: {words}",
    "file_missing": "no file came to the inbox {subject}, contract {contract}{of}, expected since {since} in Paris"
    " ({count} missing); {last}: ask its sender",
    "relay_rests": "{subject} leave the relay alone for {age} ({class}), {count} waiting: look at the relay, SMTP_URL",
    "webhooks_failing": "the webhook endpoint {subject} has failed for over five minutes: {count} waiting",
    "webhooks_given_up": "{count} webhooks of {subject} failed for a day, though others arrived: see --deliveries",
    "webhooks_disabled": "the webhook endpoint {subject} was disabled ({class}): {count} held; its portal enables it",
    "name_not_printable": "{count} certificates cannot be printed: the fonts lack letters of the names; correct them",
    "value_not_printable": "{count} certificates cannot be printed: the fonts lack letters of other texts on them",
    "drift": "the seats of contract {subject} do not add up",
    "seats_not_compared": "the seats of {subject} were not compared for {age}: see why reconcile_seats does not run",
}

app = command_app()


@app.command(help=HELP)
def main(
    *,
    seats: Annotated[bool, typer.Option("--seats", help="compare all seats now; it reads whole tables")] = False,
    as_json: AsJson = False,
) -> None:
    with edge():
        status = read_snapshot(compare_seats=seats)
    if as_json:
        print_json(status)
    else:
        print_status(console(), status)
    if status["database"] is None:
        raise typer.Exit(UNAVAILABLE)
    if not status["healthy"]:
        raise typer.Exit(REFUSED)


def print_status(out: Console, status: dict[str, Any]) -> None:
    """Prints the status as tables; without a database only what is known without one."""
    if status["database"] is not None:
        out.print(_queues(status))
        out.print(_contracts(status))
        out.print(_processes(status))
        _print_lines(out, status)
    elif status["requests"]:
        sent = status["requests"]
        out.print(f"requests  {sent['waiting']} in Redis, the oldest for {age(sent['oldest_seconds'])}")
    for problem in status["problems"]:
        _print_problem(out, problem)
    if status["healthy"]:
        out.print("healthy", style="bold green")


def _print_problem(out: Console, problem: dict[str, Any]) -> None:
    count = number(problem["count"], at_least=problem.get("at_least", False))
    shown = {"count": count, "until": moment(problem.get("until")), "age": age(problem.get("seconds"))}
    shown["undo"] = "".join(
        f", or matricule drain {shlex.quote(plain(one))} --undo" for one in problem.get("drained", ())
    )
    sentence = SENTENCES[problem["code"]].format(**problem | shown | _of_a_file(problem))
    out.print(Text.assemble(("to look at: ", "bold red"), sentence))
    rows = problem.get("rows", ())
    if problem["count"] > len(rows) > 0 and "groups" in problem:
        _print_groups(out, problem)
        return
    for row in rows:
        error = " ".join(part for part in (row["class"], row["reason"]) if part)
        out.print(f"  {row['id']}  {row['kind']}  {plain(error) or 'no error recorded'}{_lane(row)}", soft_wrap=True)
    if problem["count"] > len(rows) > 0:
        out.print(f"  and {number(problem['count'] - len(rows), at_least=problem.get('at_least', False))} more")


def _of_a_file(problem: dict[str, Any]) -> dict[str, str]:
    """Writes what is told of a missing file: its company, since when it is expected, and when the last one came."""
    if problem["code"] != "file_missing":
        return {}
    company, last_at, lines = problem["company"], problem["last_at"], problem["lines"]
    last = f"the last came {in_paris(last_at)}" if last_at else "none has come before"
    counted = "" if lines is None else f", with {lines} lines"
    return {
        "of": f" of {plain(company)}" if company else "",
        "since": in_paris(problem["since"]),
        "last": last + counted,
    }


def _print_groups(out: Console, problem: dict[str, Any]) -> None:
    """Prints each error once, with its number and when it was first and last seen, and the oldest jobs or mails."""
    for group in problem["groups"]:
        error = " ".join(part for part in (group["class"], group["reason"]) if part)
        count = number(group["count"], at_least=group.get("at_least", False))
        seen = f"first {moment(group['first'])}, last {moment(group['last'])}"
        out.print(f"  {count:>9}  {plain(error) or 'no error recorded'}  {seen}", soft_wrap=True)
    if problem.get("more_groups"):
        out.print("  and further errors")
    out.print(f"  the oldest: {', '.join(row['id'] for row in problem['rows'][:SHOWN_OLDEST])}", soft_wrap=True)


def _lane(row: dict[str, Any]) -> str:
    """Says how many jobs wait behind a postponed one, for how long, and on which contract."""
    if "waiting" not in row:
        return ""
    contract = f" of contract {plain(row['contract'])}" if row["contract"] else ""
    return f"  {row['waiting']} waiting{contract}, for {age(row['seconds'])}"


def _table(title: str, *columns: str, numbers: Iterable[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def _queues(status: dict[str, Any]) -> Table:
    numbers = ("waiting", "due later", "running", "dead", "oldest due")
    table = _table("Queues", "queue", *numbers, numbers=numbers)
    sent = status["requests"] or {"waiting": "unreachable", "oldest_seconds": None}
    table.add_row("requests (in Redis)", str(sent["waiting"]), "-", "-", "-", age(sent["oldest_seconds"]))
    for name, counts in status["queues"].items():
        reached = counts.get("at_least", ())
        keys = ("waiting", "due_later", "running", "dead")
        figures = [number(counts[key], at_least=key in reached) for key in keys]
        table.add_row(name, *figures, age(counts["oldest_due_seconds"]))
    return table


def _contracts(status: dict[str, Any]) -> Table:
    numbers = ("Inscriptions prévues", "Participants inscrits", "Places restantes")
    total = _total(status, "contract_count", status["contract_count"])
    shown = f"the latest {SHOWN_CONTRACTS} of {total}" if status["contract_count"] > SHOWN_CONTRACTS else total
    table = _table(f"\nContracts ({shown})", "contract", "company", *numbers, numbers=numbers)
    for contract in status["contracts"]:
        figures = [str(contract[key]) for key in ("planned_seats", "enrolled_count", "remaining")]
        table.add_row(plain(contract["reference"]), plain(contract["company"]), *figures)
    return table


def _processes(status: dict[str, Any]) -> Table:
    table = _table("\nProcesses", "serves", "release", "host", "pid", "up", "seen", numbers=("pid", "up", "seen"))
    for process in (*status["processes"], *status["silent"]):
        seen = f"{age(process['seen_seconds_ago'])} ago{_condition(process, status)}"
        named = (process["kind"], plain(process["release"]), plain(process["host"]))
        table.add_row(*named, str(process["pid"]), age(process["age_seconds"]), seen)
    return table


def _condition(process: dict[str, Any], status: dict[str, Any]) -> str:
    """Says what is wrong with a process, or that an operator drains it, beside the age of its heartbeat."""
    if process in status["silent"]:
        return ": silent" if process["connected"] else ": killed"
    trouble = f": {process['trouble']}" if process["trouble"] else ""
    if not process["drain_asked_at"]:
        return trouble
    state = "drained" if process["drained_at"] else "drains"
    return f"{trouble}: {state}, by {plain(process['drain_by'])} ({plain(process['drain_reason'])})"


def _print_lines(out: Console, status: dict[str, Any]) -> None:
    if status["missing"]:
        out.print(f"served by no process: {', '.join(status['missing'])}")
    clock, database = status["clock"], status["database"]
    leader = f"led by {plain(clock['host'])} (pid {clock['pid']})" if clock else "no clock leads"
    out.print(f"\nclock     {leader}")
    if reader := (status["requests"] or {}).get("reader"):
        out.print(f"door      requests of portals are read by {plain(reader)}")
    mails = ", ".join(f"{_total(status, f'mails.{state}', count)} {state}" for state, count in status["mails"].items())
    suppressed = _total(status, "suppressed_addresses", status["suppressed_addresses"])
    out.print(f"mails     {mails or 'none'}; suppressed {_counted(suppressed, 'address', 'addresses')}")
    out.print(f"pending   {_corrections(status, 'corrections', 'an address', 'addresses')}")
    out.print(f"          {_corrections(status, 'name_corrections', 'a name', 'names')}")
    snapshot, oldest = age(database["snapshot_seconds"]), age(database["transaction_seconds"])
    out.print(f"database  oldest snapshot {snapshot}, oldest transaction {oldest}")
    out.print(f"seats     {_drift(status['reconciled'])}")
    out.print(f"taken     {age(status.get('age_seconds', 0.0))} ago\n")


def _drift(reconciled: dict[str, Any] | None) -> str:
    """Says what the last comparison of seats found, and how long ago that was."""
    if reconciled is None:
        return "not compared yet"
    return f"{reconciled['contracts'] or 'no'} drift, compared {age(reconciled['seconds'])} ago"


def _total(status: dict[str, Any], name: str, count: int) -> str:
    return number(count, at_least=name in status["at_least"])


def _corrections(status: dict[str, Any], name: str, one: str, many: str) -> str:
    """Says how many corrections of one kind wait, and for how long the oldest does."""
    waiting = status[name]
    total = _total(status, f"{name}.pending", waiting["pending"])
    counted = _counted(total, f"correction of {one}", f"corrections of {many}")
    return f"{counted}, the oldest for {age(waiting['oldest_seconds'])}" if waiting["pending"] else counted


def _counted(count: str, one: str, many: str) -> str:
    return f"{'no' if count == '0' else count} {one if count == '1' else many}"


def number(count: int, *, at_least: bool = False) -> str:
    """Writes a number as people read it; one that reached its cap as `10 000+`: at least so many."""
    return f"{count:,}".replace(",", " ") + "+" if at_least else str(count)


def moment(at: str | None) -> str:
    """Writes a moment of JSON by the minute, in UTC; a dash for none."""
    return "-" if at is None else f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M}"


def in_paris(at: str) -> str:
    """Writes a moment of JSON by the minute, as clocks in Paris show it."""
    return f"{datetime.fromisoformat(at).astimezone(PARIS):%Y-%m-%d %H:%M}"


def plain(value: object) -> str:
    """Puts a text on one line."""
    return " ".join(str(value).split())


def age(seconds: float | None) -> str:
    """Writes a duration as people read it: 4 s, 12 min, 3 h, 2 d; a dash for none."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
