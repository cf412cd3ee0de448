"""The arithmetic of the figures. No time is measured here."""

import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from tests.benchmarks.__main__ import table
from tests.benchmarks.mails import floor
from tests.benchmarks.measure import (
    Figure,
    Interleaved,
    Run,
    Series,
    Verdict,
    alternate,
    bound_figure,
    delay_figure,
    interleave,
    percentile,
    ratio_figure,
    shown,
    spread_figure,
)
from tests.benchmarks.usage import Meter, OtherWork
from tests.kit.processes.support import wait_until


def series(limits: list[float], ours: list[float]) -> Series:
    return Series([Run(rate) for rate in limits], [Run(rate) for rate in ours])


def figure(limits: list[float], ours: list[float], *, goal: float, short: bool = False) -> Figure:
    return ratio_figure("jobs", series(limits, ours), unit="jobs", goal=goal, short=short)


def test_the_limit_comes_first_between_and_last() -> None:
    order: list[str] = []

    def run(name: str) -> Run:
        order.append(name)
        return Run(float(len(order)))

    measured = alternate(lambda: run("limit"), lambda: run("ours"))
    assert order == ["limit", "ours", "limit", "ours", "limit", "ours", "limit"]
    assert [limit.rate for limit in measured.limits] == [1, 3, 5, 7]
    assert [ours.rate for ours in measured.ours] == [2, 4, 6]


def test_each_ratio_is_over_the_mean_of_the_limits_around_it() -> None:
    assert series([100, 300, 100, 100], [100, 150, 80]).ratios == [0.5, 0.75, 0.8]


def test_the_result_is_the_median() -> None:
    assert figure([100, 100, 100, 100], [90, 10, 70], goal=0.5).result == 0.7


@pytest.mark.parametrize(
    ("limits", "inconclusive"),
    [
        ([100, 100, 100, 100], False),
        ([100, 100, 100, 125], False),
        ([125, 100, 100, 100], False),
        ([100, 100, 100, 126], True),
        ([126, 100, 100, 100], True),
        ([100, 126, 100, 100], True),
        ([100, 100, 79, 100], True),
    ],
)
def test_limits_that_drifted_make_a_run_inconclusive(limits: list[float], inconclusive: bool) -> None:
    assert series(limits, [1, 1, 1]).inconclusive is inconclusive


@pytest.mark.parametrize(
    ("last_limit", "goal", "short", "verdict"),
    [
        (100, 0.5, False, Verdict.MET),
        (100, 0.51, False, Verdict.MISSED),
        (200, 0.1, False, Verdict.INCONCLUSIVE),
        (100, 0.5, True, Verdict.NONE),
    ],
)
def test_verdict(last_limit: float, goal: float, short: bool, verdict: Verdict) -> None:
    assert figure([100, 100, 100, last_limit], [50, 50, 50], goal=goal, short=short).verdict is verdict


def test_absolute_figures_list_every_run_and_the_facts_of_our_last_one() -> None:
    measured = Series([Run(10), Run(20)], [Run(5, {"memory": "1 MB"})])
    figure = ratio_figure("jobs", measured, unit="jobs", goal=0.1, short=True)
    assert figure.rates == {"ours, jobs/s": [5], "limit, jobs/s": [10, 20]}
    assert figure.facts == {"memory": "1 MB"}


def test_a_second_figure_of_the_same_runs_repeats_no_facts_of_ours() -> None:
    measured = Series([Run(10, {"sink": "a"}), Run(20, {"sink": "b"})], [Run(5, {"memory": "1 MB"})])
    figure = ratio_figure("jobs", measured.bare, unit="jobs", goal=None, short=True)
    assert (figure.facts, list(figure.values)) == ({"limit, sink": "b"}, measured.ratios)


def test_a_ratio_without_a_goal_has_no_verdict() -> None:
    informs = ratio_figure("jobs", series([100, 100], [50]), unit="jobs", goal=None, short=False)
    assert (informs.goal, informs.verdict) == ("none", Verdict.NONE)


def test_several_limits_come_before_and_after_each_turn_of_ours() -> None:
    order: list[str] = []

    def run(name: str, rate: float) -> Run:
        order.append(name)
        return Run(rate * len(order))

    measured = interleave(
        {"slow": lambda: run("slow", 1), "fast": lambda: run("fast", 2)},
        {"few": lambda: run("few", 1), "many": lambda: run("many", 1)},
        rounds=2,
    )
    assert order == ["slow", "fast", "few", "many"] * 2 + ["slow", "fast"]
    assert [run.rate for run in measured.series("few", "slow").limits] == [1, 5, 9]
    assert [run.rate for run in measured.series("many", "fast").ours] == [4, 8]


def test_of_several_limits_the_fastest_of_each_turn_counts() -> None:
    limits = {"4": [Run(10), Run(30)], "16": [Run(20), Run(25)]}
    measured = Interleaved(limits, {"ours": [Run(10)]})
    assert [run.rate for run in measured.series("ours", "4", "16").limits] == [20, 30]


@pytest.mark.parametrize(("at_most", "verdict"), [(3.0, Verdict.MET), (2.9, Verdict.MISSED)])
def test_a_bound_is_met_by_the_median(at_most: float, verdict: Verdict) -> None:
    bound = bound_figure("idle", [9, 3, 1], at_most=at_most, unit=" %", facts={}, short=False)
    assert (bound.goal, bound.result, bound.verdict) == (f"≤ {at_most:g} %", 3, verdict)


@pytest.mark.parametrize(
    ("others", "at_most", "verdict"),
    [
        (0.10, 2, Verdict.MISSED),
        (0.11, 2, Verdict.INCONCLUSIVE),
        (0.90, 3, Verdict.MET),
        (None, 2, Verdict.MISSED),
    ],
)
def test_a_bound_is_not_missed_because_of_other_work(others: float | None, at_most: float, verdict: Verdict) -> None:
    bound = bound_figure("idle", [3], at_most=at_most, unit=" %", facts={}, short=False, others=others)
    assert bound.verdict is verdict


def test_other_work_is_that_of_no_process_of_ours() -> None:
    others = OtherWork(Meter({}))
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        ours = OtherWork(Meter({"busy": busy.pid}))
        wait_until(lambda: Meter({"busy": busy.pid}).read()["busy"] > 1.0)
        assert others.share() - ours.share() > 0
        assert 0 <= ours.share() <= 1
    finally:
        busy.kill()
        busy.wait()


@pytest.mark.parametrize(
    ("limits", "ours", "verdict"),
    [
        ([100, 100, 100, 100], [100, 115, 110], Verdict.MET),
        ([100, 100, 100, 100], [100, 116, 110], Verdict.MISSED),
        ([100, 110, 100, 100], [105, 105, 100], Verdict.MET),
        ([100, 111, 100, 100], [105, 105, 100], Verdict.INCONCLUSIVE),
    ],
)
def test_a_spread_is_judged_where_the_limits_were_steady(
    limits: list[float], ours: list[float], verdict: Verdict
) -> None:
    assert spread_figure("jobs, spread", series(limits, ours), short=False).verdict is verdict


def test_a_short_run_has_no_verdict_on_its_spread() -> None:
    assert spread_figure("jobs, spread", series([1, 9], [1]), short=True).verdict is Verdict.NONE


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.4849, "", "0.48"),
        (12.5, "", "12.50"),
        (1234.5, " MB", "1,234 MB"),
        (13.55, " %", "13.6 %"),
        (2.475, " ms", "2.48 ms"),
        (0.0937, " a mail", "0.094 a mail"),
    ],
)
def test_a_value_is_written_with_its_unit_and_about_three_digits(value: float, unit: str, said: str) -> None:
    assert shown(value, unit) == said


@pytest.mark.parametrize(
    ("connections", "default", "least"), [(4, 16, 0.30), (4, 4, 0.50), (16, 4, 0.70), (16, 16, 0.70), (8, 8, 0.50)]
)
def test_the_floor_of_mails_is_the_highest_that_is_asked_for(connections: int, default: int, least: float) -> None:
    assert floor(connections, default) == least


@pytest.mark.parametrize(("goal", "verdict"), [(30, Verdict.MET), (29, Verdict.MISSED)])
def test_a_delay_is_met_by_its_median(goal: float, verdict: Verdict) -> None:
    delay = delay_figure("latency", [10, 30, 500], goal=goal, facts={}, short=False)
    assert (delay.result, delay.verdict) == (30, verdict)


@pytest.mark.parametrize(("percent", "value"), [(50, 10), (95, 19), (100, 20), (1, 1)])
def test_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile(list(range(20, 0, -1)), percent) == value


def test_the_printed_table_fits_160_columns() -> None:
    rates = {"ours, mails/s": [1_234.0] * 3, "limit, mails/s": [5_678.0] * 4}
    facts = {"CPU ms per mail": ", ".join(f"a kind of process {number}.123" for number in range(12))}
    long = Figure(
        "mails, 16 connections, of the best sender", "≤ 0.375 a mail", [0.1], " a mail", Verdict.MET, facts, rates
    )
    console = Console(width=160, record=True, file=StringIO())
    console.print(table([long]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 160
    assert all(word in "".join(lines) for word in ("≤ 0.375 a mail", "0.100 a mail", "1,234", "met"))
