"""Each figure compares our code with the limit of its parts, alternately, so that a slow minute slows both.

The order is limit, ours, limit, ours, limit, ours, limit. Each of our runs is divided by the mean of the limits before
and after it; the result is the median. When the first and the last limit differ too much, the machine was busy with
other work, and the ratio has no meaning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import mean, median
from typing import Final

ROUNDS: Final = 3
MOST_DRIFT: Final = 1.25
"""The most that the first and the last limit may differ, as a ratio; above this the run is inconclusive."""


class Verdict(StrEnum):
    """The verdict on a figure."""

    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"
    NONE = "-"  # a short run, or a figure without a goal


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement: a number per second, and other observed values."""

    rate: float
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """Alternating runs: there is one more run of the limit than of our code."""

    limits: Sequence[Run]
    ours: Sequence[Run]

    @property
    def ratios(self) -> list[float]:
        """Each of our runs divided by the mean of the limits around it."""
        return [
            run.rate / mean((before.rate, after.rate))
            for run, before, after in zip(self.ours, self.limits[:-1], self.limits[1:], strict=True)
        ]

    @property
    def inconclusive(self) -> bool:
        """Tells whether the machine changed too much between the first limit and the last."""
        first, last = self.limits[0].rate, self.limits[-1].rate
        return max(first, last) > MOST_DRIFT * min(first, last)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Parameters:
      values: the value of each alternation; the result is their median.
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
    """Measures the limit and our code alternately, beginning and ending with the limit."""
    limits, runs = [limit()], []
    for _ in range(rounds):
        runs.append(ours())
        limits.append(limit())
    return Series(limits, runs)


def ratio_figure(name: str, series: Series, *, unit: str, goal: float, short: bool) -> Figure:
    """Builds the figure of alternating runs; a short run gets no verdict.

    Parameters:
      unit: the counted things, in the plural: `jobs`.
      goal: the smallest acceptable ratio.
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
    """Builds the figure of a delay; `goal` is the longest acceptable median in milliseconds."""
    verdict = Verdict.NONE if short else _met(median(milliseconds) <= goal)
    return Figure(name, f"≤ {goal:.0f} ms", (median(milliseconds),), " ms", verdict, facts)


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the smallest value that this percentage of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__trunc__() - 1)]


def _met(met: bool) -> Verdict:
    return Verdict.MET if met else Verdict.MISSED


def _listed(runs: Sequence[Run]) -> str:
    return " / ".join(f"{run.rate:,.0f}" for run in runs)
