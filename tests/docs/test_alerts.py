"""docs/ops/alerts.yml is read by Prometheus, and asks for metrics, queues and problems that there are."""

import re

from tests.kit import system
from tests.kit.processes.support import PROJECT
from workers.cli.status import SENTENCES
from workers.requests.queues import Queue

ALERTS = PROJECT / "docs" / "ops" / "alerts.yml"

EXPRESSION = re.compile(r"^ +expr: (.*)$", re.MULTILINE)


def expressions() -> list[str]:
    return EXPRESSION.findall(ALERTS.read_text(encoding="utf-8"))


def test_every_metric_of_an_alert_is_in_a_scrape(scrape: bytes) -> None:
    there = set(re.findall(r"^# TYPE (\w+)", scrape.decode(), re.MULTILINE))
    asked = {name for expression in expressions() for name in re.findall(r"matricule_\w+", expression)}
    assert asked - there == set()
    assert len(expressions()) == len(re.findall("- alert: ", ALERTS.read_text(encoding="utf-8"))) > 0


def test_every_queue_and_problem_of_an_alert_is_one() -> None:
    named = {label: set[str]() for label in ("queue", "code")}
    for expression in expressions():
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', expression):
            named.setdefault(label, set()).update(values.split("|"))
    assert named["queue"] == {queue.value for queue in Queue}
    assert named["code"] <= set(SENTENCES)
    assert set(named) == {"queue", "code", "job"}


def test_promtool_reads_the_alerts() -> None:
    assert f"{len(expressions())} rules found" in system.run("promtool", "check", "rules", ALERTS)


def test_promtool_finds_no_fault_in_the_metrics(scrape: bytes) -> None:
    assert system.run("promtool", "check", "metrics", given=scrape) == ""
