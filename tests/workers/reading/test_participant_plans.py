"""A page of participants is read from the ends of indexes, in a large contract too, and on wrong statistics."""

from functools import partial
from typing import Final

import pytest

from models.words import DeliveryState, Progress
from tests.benchmarks.crowd import RARE, add_crowd
from tests.benchmarks.population import contract, known_id
from tests.workers.ops.test_status_plans import forget_statistics, read_too_much
from workers.database import transaction
from workers.reading.participants import Filter, PageAsked, list_participants

FILTERS: Final = [
    Filter(),
    *(Filter(progress=progress) for progress in Progress),
    *(Filter(mail=state) for state in DeliveryState),
    *(Filter(search=words) for words in ("s", "martin", RARE, "martin jean", "martin lefevre", "introuvable")),
    Filter("s", None, DeliveryState.UNDELIVERABLE),
    Filter("martin", Progress.COMPLETED),
    Filter(to_do=True),
    Filter("martin", to_do=True),
]


@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize("statistics", ["good", "none"])
def test_no_page_of_participants_reads_the_contract(statistics: str, subtests: pytest.Subtests) -> None:
    add_crowd(12_000)
    if statistics == "none":
        forget_statistics()
    for wanted in FILTERS:
        with subtests.test(wanted=wanted), transaction() as session:
            read = partial(list_participants, session, known_id(contract(0)), PageAsked(wanted))
            assert read_too_much(session, read) == []
