"""The plan of faults is drawn from the seed before anything starts, so that a run can be repeated from its file."""

import json
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault.

    Parameters:
      at: seconds after the start of the storm.
      name: its name in the catalogue (``nemesis.FAULTS``).
      seconds: how long it lasts.
      chance: a number in [0, 1) that chooses its victim among those that run at that moment.
    """

    at: float
    name: str
    seconds: float
    chance: float


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault.

    Parameters:
      group: faults of one group never overlap; faults of different groups do.
      shortest, longest: bounds of how long it lasts, in seconds.
      weight: how often it is drawn among those of its group.
      lasting: what it breaks would stay broken for ever, so it is also the last of its group.
    """

    name: str
    group: str
    shortest: float
    longest: float
    weight: float = 1.0
    lasting: bool = False


KINDS: Final = (
    FaultKind("kill", "process", 0, 0, 5),
    FaultKind("kill_clock_leader", "process", 0, 0, 1),
    FaultKind("kill_sending_mailer", "process", 0, 0, 1.5),
    FaultKind("freeze", "process", 1, 8, 2),
    FaultKind("freeze_past_lease", "process", 20, 24, 0.5),
    FaultKind("stop", "process", 0, 0, 1),
    FaultKind("redis_flushed", "redis", 0, 0, 2),
    FaultKind("redis_killed", "redis", 0.2, 4, 2),
    FaultKind("redis_full", "redis", 1, 5, 1),
    FaultKind("redis_no_permission", "redis", 1, 5, 1),
    FaultKind("redis_read_only", "redis", 1, 5, 1),
    FaultKind("redis_no_replicas", "redis", 1, 5, 1),
    FaultKind("redis_busy", "redis", 1, 4, 1),
    FaultKind("redis_paused", "redis", 1, 6, 1),
    FaultKind("redis_cut", "redis", 0, 0, 1),
    FaultKind("postgres_restarted", "postgres", 0.2, 3, 2),
    FaultKind("postgres_crashed", "postgres", 0.2, 3, 2),
    FaultKind("postgres_cut", "postgres", 0, 0, 3),
    FaultKind("postgres_read_only", "postgres", 1, 5, 2, lasting=True),
    FaultKind("relay_away", "relay", 1, 6, 1),
    FaultKind("relay_tempfail_greeting", "relay", 1, 5, 1),
    FaultKind("relay_tempfail_mail", "relay", 1, 5, 1),
    FaultKind("relay_tempfail_rcpt", "relay", 1, 5, 1),
    FaultKind("relay_tempfail_data", "relay", 1, 5, 1),
    FaultKind("relay_tempfail_body", "relay", 1, 5, 1),
    FaultKind("relay_drops_after_data", "relay", 0.3, 1.5, 1),
    FaultKind("relay_slow", "relay", 2, 10, 1),
    FaultKind("relay_closing", "relay", 1, 5, 1),
)
"""The catalogue. What it draws for a seed changes when a kind is added; an old plan is repeated from its file."""

PAUSES: Final = {"process": (1.5, 8.0), "redis": (6.0, 18.0), "postgres": (8.0, 22.0), "relay": (8.0, 24.0)}
"""The shortest and longest pause between two faults of a group, in seconds."""


def draw_plan(seed: int, seconds: float, without: Collection[str] = ()) -> list[PlannedFault]:
    """Draws the faults of a storm that lasts this long.

    Each group has a generator of its own, so leaving a kind out changes no other group. The last fault of PostgreSQL is
    a failover: sessions that stayed read-only would be cured by any restart after it.
    """
    faults: list[PlannedFault] = []
    for group, pauses in PAUSES.items():
        kinds = [kind for kind in KINDS if kind.group == group and not {kind.name, group} & set(without)]
        if kinds:
            drawn = list(_draw_group(random.Random(f"{seed}:{group}"), kinds, seconds, pauses))
            faults += [*drawn[:-1], *(_at_last(fault, kinds) for fault in drawn[-1:])]
    return sorted(faults, key=lambda fault: fault.at)


def _at_last(fault: PlannedFault, kinds: Sequence[FaultKind]) -> PlannedFault:
    """Returns the last fault of a group: one that heals nothing an earlier one broke, if the group has such a kind."""
    lasting = next((kind for kind in kinds if kind.lasting), None)
    return replace(fault, name=lasting.name, seconds=lasting.longest) if lasting else fault


def _draw_group(
    chances: random.Random, kinds: Sequence[FaultKind], seconds: float, pauses: tuple[float, float]
) -> Iterator[PlannedFault]:
    at = chances.uniform(1.0, pauses[1] / 2)
    while at < seconds:
        kind = chances.choices(kinds, [kind.weight for kind in kinds])[0]
        lasts = chances.uniform(kind.shortest, kind.longest)
        yield PlannedFault(round(at, 2), kind.name, round(lasts, 2), round(chances.random(), 4))
        at += lasts + chances.uniform(*pauses)


def write_plan(path: Path, plan: Sequence[PlannedFault]) -> None:
    """Writes a plan, one fault per line; a line may be taken out before the plan is repeated."""
    path.write_text("".join(json.dumps(asdict(fault)) + "\n" for fault in plan), "utf-8")


def read_plan(path: Path) -> list[PlannedFault]:
    """Reads a plan that was written before."""
    return [PlannedFault(**json.loads(line)) for line in path.read_text("utf-8").splitlines() if line.strip()]
