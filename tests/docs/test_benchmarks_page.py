"""The tables of docs/benchmarks.md are those of the runs kept in tests/benchmarks/results."""

from collections.abc import Callable, Mapping

from tests.benchmarks import ranges, results


def test_the_page_has_the_ranges_over_the_kept_runs(generated: Callable[[str, Mapping[str, str]], None]) -> None:
    runs = ranges.letters(results.read(sorted(results.KEPT.glob("*.json"))))
    parts = {
        "runs": ranges.runs_table(runs),
        "figures": ranges.figures_table(runs),
        "CPU": ranges.cpu_table(runs),
    }
    generated("benchmarks.md", parts)
