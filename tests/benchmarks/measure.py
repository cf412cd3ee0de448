"""The one rule of measuring: ours beside the limit of its parts, in turn, so that a slow minute slows both.

Limit, ours, limit, ours, limit, ours, limit. Each of ours is divided by the mean of the limits before and after it; the
result is the median. When the first and the last limit are too far apart, the machine was doing something else, and the
ratio says nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import mean, median
from typing import Final

ROUNDS: Final = 3
MOST_DRIFT: Final = 1.25
"""The larger of the first and the last limit over the smaller: above this the run is inconclusive."""


class Verdict(StrEnum):
    """What a figure came to."""

    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"
    NONE = "-"  # a short run, or a figure without a goal


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement: so many per second, and what else was seen of it."""

    rate: float
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """Alternating runs: one more of the limit than of ours."""

    limits: Sequence[Run]
    ours: Sequence[Run]

    @property
    def ratios(self) -> list[float]:
        """Each of ours over the mean of the limits around it."""
        return [
            run.rate / mean((before.rate, after.rate))
            for run, before, after in zip(self.ours, self.limits[:-1], self.limits[1:], strict=True)
        ]

    @property
    def inconclusive(self) -> bool:
        """Whether the machine changed too much between the first limit and the last."""
        first, last = self.limits[0].rate, self.limits[-1].rate
        return max(first, last) > MOST_DRIFT * min(first, last)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Parameters:
      values: what each alternation gave; the result is their median.
      facts: absolute figures, by name.
    """

    name: str
    goal: str
    values: Sequence[float]
    unit: str
    verdict: Verdict
    facts: Mapping[str, str]

    @property
    def result(self) -> float:
        """The median."""
        return median(self.values)


def alternate(limit: Callable[[], Run], ours: Callable[[], Run], *, rounds: int = ROUNDS) -> Series:
    """Measures the limit and ours in turn, beginning and ending with the limit."""
    limits, runs = [limit()], []
    for _ in range(rounds):
        runs.append(ours())
        limits.append(limit())
    return Series(limits, runs)


def ratio_figure(name: str, series: Series, *, unit: str, goal: float, short: bool) -> Figure:
    """The figure of alternating runs; a short run gets no verdict.

    Parameters:
      unit: what is counted, in the plural: `jobs`.
      goal: the least ratio wanted.
    """
    facts = {
        f"ours, {unit}/s": _listed(series.ours),
        f"limit, {unit}/s": _listed(series.limits),
        **series.ours[-1].facts,
        **{f"limit, {name}": value for name, value in series.limits[-1].facts.items()},
    }
    met = median(series.ratios) >= goal
    verdict = Verdict.INCONCLUSIVE if series.inconclusive else _met(met)
    return Figure(name, f"≥ {goal:.2f}", series.ratios, "", Verdict.NONE if short else verdict, facts)


def delay_figure(
    name: str, milliseconds: Sequence[float], *, goal: float, facts: Mapping[str, str], short: bool
) -> Figure:
    """The figure of a delay; `goal` is the longest median wanted, in milliseconds."""
    verdict = Verdict.NONE if short else _met(median(milliseconds) <= goal)
    return Figure(name, f"≤ {goal:.0f} ms", (median(milliseconds),), " ms", verdict, facts)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this percentage of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__trunc__() - 1)]


def _met(met: bool) -> Verdict:
    return Verdict.MET if met else Verdict.MISSED


def _listed(runs: Sequence[Run]) -> str:
    return " / ".join(f"{run.rate:,.0f}" for run in runs)
