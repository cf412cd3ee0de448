"""Makes the rows of the table of queues: the counts of the snapshot, what came and went, and the outlook."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from models.outlook import RATE_MINUTES, Outlook, QueueFacts, judge_outlook
from workers.ops.flows import QueueFlow, no_flow
from workers.ops.problems import BULK, LATE_IN_BULK_SECONDS, LATE_SECONDS

COLUMNS: Final = (
    *("queue", "waiting", "due_later", "running", "dead", "oldest_due_seconds"),
    *("in_per_minute", "out_per_minute", "outlook", "clears_in_seconds", "paused_until"),
)
"""The columns of the table for programs."""


class QueueRow(NamedTuple):
    """A queue as the tables show it.

    Parameters:
      counts: of the snapshot.
      pause: that of the whole queue, if there is one.
      lanes_paused: how many of its lanes are paused.
    """

    name: str
    counts: Mapping[str, Any]
    flow: QueueFlow
    outlook: Outlook
    pause: Mapping[str, Any] | None
    lanes_paused: int

    @property
    def arrived(self) -> float:
        """The jobs or mails that come in a minute."""
        return self.flow.arrived_lately / RATE_MINUTES

    @property
    def ended(self) -> float:
        """The jobs or mails that end in a minute."""
        return self.flow.ended_lately / RATE_MINUTES

    @property
    def reached(self) -> Sequence[str]:
        """The counts that reached the cap."""
        counted: Sequence[str] = self.counts.get("at_least", ())
        return counted

    def cells(self) -> tuple[Any, ...]:
        """Returns the values of ``COLUMNS``."""
        counted = tuple(self.counts[key] for key in ("waiting", "due_later", "running", "dead", "oldest_due_seconds"))
        until = self.pause["until"] if self.pause else None
        rates = (round(self.arrived, 2), round(self.ended, 2))
        return (self.name, *counted, *rates, self.outlook.code.value, self.outlook.seconds, until)


def queue_rows(snapshot: Mapping[str, Any], flows: Mapping[str, QueueFlow]) -> list[QueueRow]:
    """Returns the queues, those first that need a person, then those in which work has waited longest."""
    rows = [_row(name, counts, snapshot, flows.get(name) or no_flow()) for name, counts in snapshot["queues"].items()]
    return sorted(rows, key=_place)


def _place(row: QueueRow) -> tuple[bool, bool, float]:
    return (not row.outlook.code.needs_person, row.counts["waiting"] == 0, -(row.counts["oldest_due_seconds"] or 0.0))


def _row(name: str, counts: Mapping[str, Any], snapshot: Mapping[str, Any], flow: QueueFlow) -> QueueRow:
    pauses = [pause for pause in snapshot["pauses"] if pause["queue"] == name]
    whole = next((pause for pause in pauses if pause["reference"] is None), None)
    facts = QueueFacts(
        waiting=counts["waiting"],
        oldest_seconds=counts["oldest_due_seconds"],
        late_after=LATE_IN_BULK_SECONDS if name in BULK else LATE_SECONDS,
        arrived=flow.arrived_lately,
        ended=flow.ended_lately,
        paused=whole is not None,
        served=name not in snapshot["missing"],
        relay_rests=_rests(name, snapshot),
    )
    return QueueRow(name, counts, flow, judge_outlook(facts), whole, len(pauses) - (whole is not None))


def _rests(name: str, snapshot: Mapping[str, Any]) -> bool:
    """Tells whether all processes of a queue leave the relay alone."""
    serving = [process for process in snapshot["processes"] if name in process["kind"].split()]
    return bool(serving) and all(process["circuit_seconds"] for process in serving)


__all__ = ["COLUMNS", "QueueRow", "queue_rows"]
