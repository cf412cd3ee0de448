"""Each figure compares our code with the limit of its parts, alternately, so that a slow minute slows both.

The order is limit, ours, limit, ours, limit, ours, limit. Each of our runs is divided by the mean of the limits before
and after it; the result is the median. When any two limits differ too much, the machine was busy with other work, and
the ratio has no meaning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import mean, median
from typing import Final

ROUNDS: Final = 3
MOST_DRIFT: Final = 0.25
"""The most that two limits may lie apart, as a share of the slower; above this the run is inconclusive."""

MOST_OTHERS: Final = 0.10
"""The most of the machine that other work may use where a figure has no limit beside it that would feel it as well."""

MOST_SPREAD: Final = 0.15
"""The most that the ratios of one figure may lie apart, as a share of the smallest."""

STEADY: Final = 0.10
"""Limits that lie no further apart than this share of the slowest say that the machine was steady."""

Measured = Callable[[], "Run"]


class Verdict(StrEnum):
    """The verdict on a figure."""

    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"
    NONE = "-"  # a short run, or a figure without a goal


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement: a number per second, and other observed values.

    Parameters:
      facts: values to print, by name.
      numbers: values that have a goal of their own, by name.
    """

    rate: float
    facts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


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
    def bare(self) -> "Series":
        """Returns the series without the facts of our runs, which stand at another figure of the same runs."""
        return Series(self.limits, [Run(run.rate) for run in self.ours])

    @property
    def inconclusive(self) -> bool:
        """Tells whether the machine changed too much between any two of the limits."""
        return spread([run.rate for run in self.limits]) > MOST_DRIFT

    @property
    def steady(self) -> bool:
        """Tells whether all limits are so close together that the machine explains no difference of ours."""
        return spread([run.rate for run in self.limits]) <= STEADY


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Several limits and several runs of our code that were measured in turn, by name."""

    limits: Mapping[str, Sequence[Run]]
    ours: Mapping[str, Sequence[Run]]

    def series(self, ours: str, *limits: str) -> Series:
        """Returns one of ours beside the fastest of these limits at each turn."""
        turns = zip(*(self.limits[name] for name in limits), strict=True)
        return Series([max(turn, key=lambda run: run.rate) for turn in turns], self.ours[ours])


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Parameters:
      values: the value of each alternation; the result is their median.
      facts: absolute figures, by name.
      rates: the rate of every run, by what ran and the unit: `ours, jobs/s`.
    """

    name: str
    goal: str
    values: Sequence[float]
    unit: str
    verdict: Verdict
    facts: Mapping[str, str]
    rates: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def result(self) -> float:
        """The median."""
        return median(self.values)


def alternate(limit: Measured, ours: Measured, *, rounds: int = ROUNDS) -> Series:
    """Measures the limit and our code alternately, beginning and ending with the limit."""
    return interleave({"limit": limit}, {"ours": ours}, rounds=rounds).series("ours", "limit")


def interleave(limits: Mapping[str, Measured], ours: Mapping[str, Measured], *, rounds: int = ROUNDS) -> Interleaved:
    """Measures all limits and all of ours in turn, beginning and ending with the limits."""
    of_limits: dict[str, list[Run]] = {name: [measure()] for name, measure in limits.items()}
    of_ours: dict[str, list[Run]] = {name: [] for name in ours}
    for _ in range(rounds):
        for name, measure in ours.items():
            of_ours[name].append(measure())
        for name, measure in limits.items():
            of_limits[name].append(measure())
    return Interleaved(of_limits, of_ours)


def ratio_figure(
    name: str, series: Series, *, unit: str, goal: float | None, short: bool, beside: str = "limit"
) -> Figure:
    """Builds the figure of alternating runs; a short run gets no verdict.

    Parameters:
      unit: the counted things, in the plural: `jobs`.
      goal: the smallest acceptable ratio; None where the ratio only informs.
      beside: a word for the other side, where it is no limit.
    """
    facts = {
        **series.ours[-1].facts,
        **{f"{beside}, {fact}": value for fact, value in series.limits[-1].facts.items()},
    }
    rates = {
        f"ours, {unit}/s": [run.rate for run in series.ours],
        f"{beside}, {unit}/s": [run.rate for run in series.limits],
    }
    verdict = Verdict.INCONCLUSIVE if series.inconclusive else _verdict(median(series.ratios), at_least=goal)
    told = "none" if goal is None else f"≥ {goal:.2f}"
    return Figure(name, told, series.ratios, "", Verdict.NONE if short else verdict, facts, rates)


def bound_figure(
    name: str,
    values: Sequence[float],
    *,
    at_most: float,
    unit: str,
    facts: Mapping[str, str],
    short: bool,
    others: float | None = None,
) -> Figure:
    """Builds a figure with a largest acceptable median; it may be met on a busy machine, but not missed.

    Parameters:
      unit: the unit with its space: ` ms`.
      others: the share of the machine that other work used meanwhile; None where that does not matter.
    """
    verdict = Verdict.MET if median(values) <= at_most else Verdict.MISSED
    if others is not None:
        facts = {**facts, "other work on the machine": f"{100 * others:.0f} %"}
        if others > MOST_OTHERS and verdict is Verdict.MISSED:
            verdict = Verdict.INCONCLUSIVE
    return Figure(name, f"≤ {round(at_most, 3):g}{unit}", values, unit, Verdict.NONE if short else verdict, facts)


def delay_figure(
    name: str,
    milliseconds: Sequence[float],
    *,
    goal: float,
    facts: Mapping[str, str],
    short: bool,
    others: float | None = None,
) -> Figure:
    """Builds the figure of a delay; `goal` is the longest acceptable median in milliseconds."""
    middle = [median(milliseconds)]
    return bound_figure(name, middle, at_most=goal, unit=" ms", facts=facts, short=short, others=others)


def spread_figure(name: str, series: Series, *, short: bool) -> Figure:
    """Builds the figure of how far the ratios lie apart, in percent; it says nothing where the limits wavered."""
    limits = spread([run.rate for run in series.limits])
    facts = {"limits": f"{100 * limits:.0f} % apart (at most {100 * STEADY:.0f} % for a verdict)"}
    apart = [100 * spread(series.ratios)]
    figure = bound_figure(name, apart, at_most=100 * MOST_SPREAD, unit=" %", facts=facts, short=short)
    return figure if short or series.steady else replace(figure, verdict=Verdict.INCONCLUSIVE)


def spread(values: Sequence[float]) -> float:
    """Returns how much larger the largest value is than the smallest, as a share of the smallest."""
    return (max(values) - min(values)) / min(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the smallest value that this percentage of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__trunc__() - 1)]


def shown(value: float, unit: str) -> str:
    """Writes a value for people: a ratio with two decimals, anything else with about three digits and its unit."""
    if not unit:
        return f"{value:.2f}"
    decimals = next((digits for digits, least in enumerate((100, 10, 1)) if abs(value) >= least), 3)
    return f"{value:,.{decimals}f}{unit}"


def _verdict(result: float, *, at_least: float | None) -> Verdict:
    if at_least is None:
        return Verdict.NONE
    return Verdict.MET if result >= at_least else Verdict.MISSED
