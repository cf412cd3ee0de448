"""The report of a run: violations by kind, then the verdict in one line."""

import json
from collections import Counter
from typing import Any, Final, TextIO

from tests.chaos.harness.checks import DOUBLED, LOST, MAILS_DOUBLED, OVERSOLD, SILENT
from tests.chaos.harness.run import Outcome

CLEAN, VIOLATED, CANNOT_RUN, STOPPED = 0, 1, 77, 130
SHOWN: Final = 20
"""The most violations of one check that are printed; the file has them all."""


def verdict(outcome: Outcome) -> dict[str, Any]:
    """Returns the line that programs read; the names and their order stay."""
    counts = Counter(violation.counts_as for violation in outcome.violations)
    bag = outcome.findings.mailbag
    return {
        "seed": outcome.orders.seed,
        "accepted": len(outcome.findings.asked.keys() & outcome.findings.evidence.by_key.keys()),
        "finished": len(outcome.findings.done),
        "lost": counts[LOST],
        "doubled": counts[DOUBLED],
        "oversold": counts[OVERSOLD],
        "mails_doubled": bag.doubled,
        "mails_doubled_bound": bag.bound,
        "silent": counts[SILENT],
        "verdict": "violated" if outcome.violations else "clean",
    }


def not_judged(seed: int, why: str) -> dict[str, Any]:
    """Returns the line of a run that could not begin on this machine, or was stopped."""
    numbers = dict.fromkeys(("accepted", "finished", LOST, DOUBLED, OVERSOLD, MAILS_DOUBLED), 0)
    return {"seed": seed, **numbers, "mails_doubled_bound": 0, SILENT: 0, "verdict": why}


def write(outcome: Outcome, out: TextIO) -> None:
    """Prints the violations and what was done, and keeps them in the folder of the run."""
    findings, folder = outcome.findings, outcome.orders.folder
    lines = [json.dumps(violation._asdict(), ensure_ascii=False) for violation in outcome.violations]
    (folder / "violations.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")
    shown: Counter[tuple[str, str]] = Counter()
    for violation in outcome.violations:
        kind = (violation.counts_as, violation.check)
        shown[kind] += 1
        if shown[kind] <= SHOWN:
            print(f"  {violation.counts_as}: {violation.check} {violation.subject}: {violation.detail}", file=out)
    for (counts_as, check), count in shown.items():
        if count > SHOWN:
            print(f"  {counts_as}: {check}: {count - SHOWN} more in violations.jsonl", file=out)
    faults = Counter(str(fault["name"]) for fault in findings.events["fault"])
    print(f"faults: {', '.join(f'{name} {count}' for name, count in sorted(faults.items()))}", file=out)
    print(f"seat samples: {outcome.samples}; mails: {sum(findings.mailbag.copies.values())}", file=out)
    print(f"everything is in {folder}", file=out)
