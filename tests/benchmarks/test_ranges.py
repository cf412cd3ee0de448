"""Kept runs: what a file holds, and how several become the tables of a page. No time is measured here."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.benchmarks.measure import Figure, Verdict
from tests.benchmarks.ranges import cpu_table, figures_table, letters, runs_table, span
from tests.benchmarks.results import KeptRun, MachineFacts, begin, read

QUIET = (0.1, 0.2, 0.3)


def run(*figures: Figure, day: int = 1, short: bool = False) -> KeptRun:
    kept = KeptRun(
        at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day - 1),
        commit=f"abc{day}",
        changed=False,
        short=short,
        machine=MachineFacts(cpu="EPYC", cores=2, memory_gb=8.2, kernel="Linux 6.1"),
        versions={"Python": "3.11.2"},
    )
    kept.add(figures, seconds=1.0, load=(QUIET, (1.5, 1.0, 0.5)))
    return kept


def jobs(*values: float, verdict: Verdict = Verdict.MET, cpu: str = "workers 0.1") -> Figure:
    rates = {"ours, jobs/s": [1000 * value for value in values], "limit, jobs/s": [1000.0] * (len(values) + 1)}
    return Figure("jobs", "≥ 1.30", values, "", verdict, {"CPU ms per job": cpu}, rates)


def row(*runs: KeptRun) -> list[str]:
    table = figures_table(letters(runs))
    return [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")]


def test_a_written_run_is_read_again(tmp_path: Path) -> None:
    kept = run(jobs(1.2, 1.4, 1.3), Figure("idle", "≤ 3 %", (2.5,), " %", Verdict.MET, {"by process": "web 0.1"}))
    kept.write(tmp_path / "folder" / "run.json")
    assert read([tmp_path / "folder" / "run.json"]) == [kept]


def test_a_run_names_its_machine_its_code_and_its_versions() -> None:
    kept = begin({"PostgreSQL": "18.1"}, short=True)
    assert (bool(kept.machine.cpu), kept.machine.cores > 0, bool(kept.commit)) == (True, True, True)
    assert {"PostgreSQL", "Python", "dramatiq", "aiosmtplib"} <= set(kept.versions)
    assert kept.file_name.endswith(".json")
    assert kept.file_name.isascii()
    assert " " not in kept.file_name


def test_runs_stand_in_the_order_of_their_days(tmp_path: Path) -> None:
    files = [tmp_path / f"{day}.json" for day in (2, 1)]
    for file, day in zip(files, (2, 1), strict=True):
        run(day=day).write(file)
    assert [kept.commit for kept in read(files)] == ["abc1", "abc2"]


def test_each_run_is_told_with_its_day_code_machine_and_load() -> None:
    table = runs_table(letters([run(jobs(1.0)), run(jobs(1.0), day=2)]))
    assert table.splitlines()[2:] == [
        "| A | 2026-11-01 00:00 | abc1 | EPYC, 2 cores, 8 GB, Linux 6.1 | 0.1, 1.5 | Python 3.11.2 |",
        "| B | 2026-11-02 00:00 | abc2 | EPYC, 2 cores, 8 GB, Linux 6.1 | 0.1, 1.5 | Python 3.11.2 |",
    ]


def test_a_figure_ranges_over_the_medians_of_its_runs() -> None:
    assert row(run(jobs(1.2, 1.4, 1.3)), run(jobs(1.6, 1.5, 1.1), day=2)) == [
        "`jobs`",
        "1.30 – 1.50",
        "≥ 1.30",
        "met",
        "AB",
        "ours 1,100 – 1,600 jobs/s; limit 1,000 jobs/s",
        "",
    ]


def test_runs_that_differ_in_their_verdict_are_named() -> None:
    cells = row(run(jobs(1.4)), run(jobs(1.2, verdict=Verdict.MISSED), day=2), run(jobs(1.5), day=3))
    assert cells[3] == "met in AC, **missed** in B"


def test_an_inconclusive_figure_does_not_widen_the_range() -> None:
    cells = row(run(jobs(1.4)), run(jobs(0.2, verdict=Verdict.INCONCLUSIVE), day=2))
    assert (cells[1], cells[3]) == ("1.40", "met in A, inconclusive in B")


def test_a_figure_that_no_run_could_judge_has_no_range() -> None:
    assert row(run(jobs(0.2, verdict=Verdict.INCONCLUSIVE)))[1:4] == ["–", "≥ 1.30", "inconclusive"]


def test_the_goal_and_the_facts_are_those_of_the_last_run() -> None:
    first = Figure("idle", "none", (13.0,), " %", Verdict.NONE, {"by process": "web 1.0"})
    last = Figure("idle", "≤ 3 %", (2.5,), " %", Verdict.MET, {"by process": "web 0.1"})
    cells = row(run(last, day=2), run(first))
    assert (cells[1], cells[6]) == ("2.50 – 13.0 %", "by process web 1.0")


def test_cpu_ranges_by_kind_of_process_ours_beside_the_limit() -> None:
    def figure(ours: str, limit: str) -> Figure:
        facts = {"CPU ms per job": ours, "limit, CPU ms per message": limit}
        return Figure("jobs", "", (1.0,), "", Verdict.MET, facts)

    runs = [run(figure("workers 0.115, Valkey 0.004", "workers 0.2")), run(figure("workers 0.09, Valkey 0.004", ""))]
    assert cpu_table(letters(runs)).splitlines()[2:] == [
        "| `jobs`, per job | workers 0.09 – 0.115, Valkey 0.004 | workers 0.2 |"
    ]


def test_a_short_run_is_not_merged() -> None:
    with pytest.raises(ValueError, match="short"):
        letters([run(jobs(1.0), short=True)])


@pytest.mark.parametrize(
    ("values", "unit", "said"),
    [([], "", ""), ([0.5], "", "0.50"), ([0.501, 0.499], "", "0.50"), ([2.0, 14.0], " %", "2.00 – 14.0 %")],
)
def test_a_range_tells_both_ends_and_the_unit_once(values: list[float], unit: str, said: str) -> None:
    assert span(values, unit) == said
