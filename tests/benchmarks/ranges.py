"""Merges kept runs into the tables of docs/benchmarks.md: the runs, and the range of every figure over them.

A short run is refused, and an inconclusive figure of a run does not count, because it says more about the machine.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from tests.benchmarks.measure import Verdict, shown
from tests.benchmarks.results import KeptFigure, KeptRun

CPU = "CPU ms per "
SPENT = re.compile(r"([^,]+?) ([\d.]+)(?:, |$)")

Table = Sequence[Sequence[str]]


def letters(runs: Sequence[KeptRun]) -> dict[str, KeptRun]:
    """Names each run with a letter, from the oldest on.

    Raises: ValueError, when a run is a short one or there are more runs than letters.
    """
    if any(run.short for run in runs):
        raise ValueError("a short run has no figures to merge")
    return dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(runs)], runs, strict=True))


def runs_table(runs: Mapping[str, KeptRun]) -> str:
    """Writes the table of the runs: when, which code, on which machine, with which versions."""
    rows = [("run", "date (UTC)", "commit", "machine", "load before, after", "versions")]
    for letter, run in runs.items():
        loads = [moment for figure in run.figures for moment in figure.load]
        machine = f"{run.machine.cpu}, {run.machine.cores} cores, {run.machine.memory_gb:.0f} GB, {run.machine.kernel}"
        rows.append(
            (
                letter,
                f"{run.at:%Y-%m-%d %H:%M}",
                run.commit + (" with changes" if run.changed else ""),
                machine,
                f"{loads[0][0]:.1f}, {loads[-1][0]:.1f}" if loads else "",
                ", ".join(f"{name} {number}" for name, number in run.versions.items()),
            )
        )
    return markdown(rows)


def figures_table(runs: Mapping[str, KeptRun]) -> str:
    """Writes a row for each figure: the lowest and the highest result, the goal, the verdicts, rates and facts."""
    rows = [("figure", "result", "goal", "verdict", "runs", "rates", "facts of the last run")]
    for name, found in by_name(runs).items():
        counted = {letter: figure for letter, figure in found.items() if figure.verdict is not Verdict.INCONCLUSIVE}
        newest = list(found.values())[-1]
        rows.append(
            (
                f"`{name}`",
                span([figure.result for figure in counted.values()], newest.unit) or "–",
                newest.goal,
                verdicts(found),
                "".join(found),
                "; ".join(_rates(list(counted.values()))),
                "; ".join(f"{fact} {value}" for fact, value in newest.facts.items() if CPU not in fact),
            )
        )
    return markdown(rows)


def cpu_table(runs: Mapping[str, KeptRun]) -> str:
    """Writes the range of the CPU milliseconds of a piece, by kind of process, ours and the limit's."""
    rows = [("figure", "ours", "limit, or theirs")]
    for name, found in by_name(runs).items():
        facts = list(chain.from_iterable(figure.facts.items() for figure in found.values()))
        pieces = {fact.removeprefix(CPU) for fact, _ in facts if fact.startswith(CPU)}
        if pieces:
            ours = _spent(value for fact, value in facts if fact.startswith(CPU))
            others = _spent(value for fact, value in facts if f", {CPU}" in fact)
            rows.append((f"`{name}`, per {' or '.join(sorted(pieces))}", ours, others))
    return markdown(rows)


def by_name(runs: Mapping[str, KeptRun]) -> dict[str, dict[str, KeptFigure]]:
    """Returns the figures by name and letter of their run, in the order in which they were first measured."""
    found: dict[str, dict[str, KeptFigure]] = {}
    for letter, run in runs.items():
        for figure in run.figures:
            found.setdefault(figure.name, {})[letter] = figure
    return found


def verdicts(figures: Mapping[str, KeptFigure]) -> str:
    """Writes a verdict on which all runs agree, or each verdict with the letters of its runs."""
    runs: dict[Verdict, str] = {}
    for letter, figure in figures.items():
        runs[figure.verdict] = runs.get(figure.verdict, "") + letter
    told = {verdict: f"**{verdict}**" if verdict is Verdict.MISSED else str(verdict) for verdict in runs}
    if len(runs) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{told[verdict]} in {letters}" for verdict, letters in runs.items())


def span(values: Sequence[float], unit: str) -> str:
    """Writes the lowest and the highest value, or the only one, with the unit once; nothing for no values."""
    if not values:
        return ""
    lowest, highest = shown(min(values), unit), shown(max(values), unit)
    return lowest if lowest == highest else f"{lowest.removesuffix(unit) if unit else lowest} – {highest}"


def markdown(rows: Table) -> str:
    """Writes rows as a table of a page; the first row holds the headings."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _rates(figures: Sequence[KeptFigure]) -> Iterable[str]:
    """Yields the range of every rate over all alternations of all runs."""
    names = dict.fromkeys(chain.from_iterable(figure.rates for figure in figures))
    for name in names:
        what, _, unit = name.rpartition(", ")
        rates = [rate for figure in figures for rate in figure.rates.get(name, ())]
        lowest, highest = f"{min(rates):,.0f}", f"{max(rates):,.0f}"
        yield f"{what} {lowest if lowest == highest else f'{lowest} – {highest}'} {unit}"


def _spent(facts: Iterable[str]) -> str:
    """Writes the range of each kind of process over these facts: `workers 0.115 – 0.130, Valkey 0.004`."""
    kinds: dict[str, list[str]] = {}
    for fact in facts:
        for kind, spent in SPENT.findall(fact):
            kinds.setdefault(kind, []).append(spent)
    ranges = {kind: sorted({min(spent, key=float), max(spent, key=float)}, key=float) for kind, spent in kinds.items()}
    return ", ".join(f"{kind} {' – '.join(ends)}" for kind, ends in ranges.items())
