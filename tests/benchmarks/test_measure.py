"""The arithmetic of the figures. No time is measured here."""

import pytest

from tests.benchmarks.measure import (
    Figure,
    Run,
    Series,
    Verdict,
    alternate,
    delay_figure,
    percentile,
    ratio_figure,
)


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
    ("first", "last", "inconclusive"),
    [(100, 100, False), (100, 125, False), (125, 100, False), (100, 126, True), (126, 100, True)],
)
def test_limits_that_drifted_make_a_run_inconclusive(first: float, last: float, inconclusive: bool) -> None:
    assert series([first, 5, 5, last], [1, 1, 1]).inconclusive is inconclusive


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
    shown = ratio_figure("jobs", measured, unit="jobs", goal=0.1, short=True).facts
    assert shown == {"ours, jobs/s": "5", "limit, jobs/s": "10 / 20", "memory": "1 MB"}


@pytest.mark.parametrize(("goal", "verdict"), [(30, Verdict.MET), (29, Verdict.MISSED)])
def test_a_delay_is_met_by_its_median(goal: float, verdict: Verdict) -> None:
    delay = delay_figure("latency", [10, 30, 500], goal=goal, facts={}, short=False)
    assert (delay.result, delay.verdict) == (30, verdict)


@pytest.mark.parametrize(("percent", "value"), [(50, 10), (95, 19), (100, 20), (1, 1)])
def test_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile(list(range(20, 0, -1)), percent) == value
