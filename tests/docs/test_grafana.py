"""docs/ops/grafana.json is a dashboard on metrics that there are, in PromQL that Prometheus reads."""

import json
import re
from pathlib import Path
from typing import Any

from tests.kit import system
from tests.kit.processes.support import PROJECT

DASHBOARD: dict[str, Any] = json.loads((PROJECT / "docs" / "ops" / "grafana.json").read_text(encoding="utf-8"))

VARIABLES = {"$__rate_interval": "5m", "$queue": ".*"}
"""Grafana puts such values in for its variables."""

UNITS = {"s", "short", "ops"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

SHOWN = {
    "matricule_jobs_waiting",
    "matricule_job_oldest_seconds",
    "matricule_jobs_total",
    "matricule_mails_total",
    "matricule_request_to_enrolled_seconds_bucket",
    "matricule_request_to_mail_seconds_bucket",
    "matricule_clock_lag_seconds",
    "matricule_database_up",
    "matricule_seat_drift",
    "matricule_problems",
}
"""The questions for which people open it."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return asked + [one["expr"] for one in DASHBOARD["annotations"]["list"]]


def filled_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def test_every_metric_of_the_dashboard_is_in_a_scrape(scrape: bytes) -> None:
    there = set(re.findall(r"^(?:# TYPE )?(matricule_\w+)", scrape.decode(), re.MULTILINE))
    asked = {name for expression in expressions() for name in re.findall(r"matricule_\w+", expression)}
    assert asked - there == set()
    assert asked >= SHOWN


def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{place}", "expr": filled_in(one)} for place, one in enumerate(expressions())]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")  # JSON is YAML
    assert f"{len(rules)} rules found" in system.run("promtool", "check", "rules", file)


def test_every_panel_has_an_id_of_its_own_and_a_place_of_its_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) > 0
    cells = [cell for panel in DASHBOARD["panels"] for cell in covered(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def covered(grid: dict[str, int]) -> list[tuple[int, int]]:
    """The cells of the grid that a panel covers."""
    columns, lines = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
    return [(x, y) for x in columns for y in lines]


def test_every_panel_asks_the_chosen_datasource_and_says_its_unit() -> None:
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "queue": "query"}
    for panel in panels():
        assert panel["datasource"] == DATASOURCE, panel["title"]
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"]), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["description"], panel["title"]
        assert ("_seconds" in panel["targets"][0]["expr"]) == (panel["fieldConfig"]["defaults"]["unit"] == "s")
