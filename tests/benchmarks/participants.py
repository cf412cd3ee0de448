"""Measures the CPU that a page of participants takes of PostgreSQL and the web process, in contracts of any size."""

from collections.abc import Mapping
from typing import Final

import httpx2

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.benchmarks.crowd import RARE, add_crowd
from tests.benchmarks.measure import Figure, bound_figure
from tests.benchmarks.population import contract
from tests.benchmarks.system import System
from tests.benchmarks.usage import listed, since
from tests.kit.processes.support import change
from tests.kit.processes.valkey import free_port
from tests.kit.processes.web_process import answers
from workers.database import transaction
from workers.portals.keys import add_key

FEW: Final = 100
MANY: Final = 1_000_000
PAGES: Final = 100
WARM: Final = 10

PAGE_GOAL: Final = 5.0
SEARCH_GOAL: Final = 50.0
MOST_GROWTH: Final = 1.3
"""The most that a page of many may take, as a multiple of one of few: they are the same but for the machine."""

LISTED: Final = {
    "all": "",
    "progress": "progress=in_progress",
    "mail sent": "mail=sent",
    "mail undeliverable": "mail=undeliverable",
}
"""Pages without a search."""

SEARCHED: Final = {
    "a letter": "q=s",
    "a common name": "q=martin",
    "a rare name": f"q={RARE}",
    "two common words": "q=martin+jean",
    "two that never meet": "q=martin+lefevre",
    "no match": "q=introuvable",
    "a letter, with a rare mail": "q=s&mail=undeliverable",
}
"""Pages of a search."""


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures pages of a small contract and of a large one."""
    few, many = (measured(system, count) for count in (FEW, 2_000 if short else MANY))
    pages = {name: many[name] for name in LISTED}
    searches = {name: many[name] for name in SEARCHED}
    growth = {name: sum(many[name].values()) / sum(few[name].values()) for name in ("all", "progress")}
    return [
        worst_figure("participants", pages, PAGE_GOAL, short=short),
        worst_figure("participants, q", searches, SEARCH_GOAL, short=short),
        bound_figure(
            "participants, growth",
            list(growth.values()),
            at_most=MOST_GROWTH,
            unit="",
            facts={f"of {FEW}, {name}": listed(few[name]) for name in growth},
            short=short,
        ),
    ]


def worst_figure(name: str, pages: Mapping[str, Mapping[str, float]], goal: float, *, short: bool) -> Figure:
    """Builds the figure of the page that takes the most CPU."""
    worst = max(sum(used.values()) for used in pages.values())
    facts = {page: listed(used) for page, used in pages.items()}
    return bound_figure(name, [worst], at_most=goal, unit=" ms", facts=facts, short=short)


def measured(system: System, count: int) -> Mapping[str, Mapping[str, float]]:
    """Returns the milliseconds of CPU of each page of a contract with so many participants, by kind of process."""
    with system.trial() as trial:
        add_crowd(count)
        change("UPDATE portal SET requests_per_minute = NULL")
        with transaction() as session:
            key = add_key(session, LOCAL_PORTAL_ID, scopes={Scope.READ}).text
        base_url = f"http://127.0.0.1:{(port := free_port())}"
        web = trial.start("workers.cli", "serve", HOST="127.0.0.1", PORT=str(port))
        trial.wait(lambda: answers(base_url))
        meter = trial.meter(web=web)
        found: dict[str, Mapping[str, float]] = {}
        headers = {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False) as client:
            for name, query in (LISTED | SEARCHED).items():
                _ask(client, query, WARM)
                before = meter.read()
                _ask(client, query, PAGES)
                used = since(before, meter.read())
                found[name] = {kind: 1000 * used[kind] / PAGES for kind in ("web", "PostgreSQL")}
        return found


def _ask(client: httpx2.Client, query: str, times: int) -> None:
    for _ in range(times):
        answer = client.get(f"/v1/contracts/{contract(0)}/participants?limit=50&{query}")
        answer.raise_for_status()
