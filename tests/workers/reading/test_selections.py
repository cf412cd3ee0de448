"""Selections of participants: whom an action would concern, by identifiers or by a filter."""

from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.participant import PermittedAction
from models.portal import LOCAL_PORTAL_ID
from models.words import DeliveryState, Progress, Scope
from tests.kit.builders.contracts import add_contract, did, enrolled, someone
from workers.database import Session
from workers.portals.keys import KnownKey
from workers.reading import participants, selections
from workers.reading.participants import Filter
from workers.reading.selections import SelectionAsked, show_selection
from workers.requests.enrollment import Withdraw

WITHDRAW = PermittedAction.WITHDRAW
KEY = KnownKey(new_id(), "k", LOCAL_PORTAL_ID, "local", tuple(Scope), None, None, None, None)


@pytest.fixture
def people(session: Session) -> list[UUID]:
    """Enrols four people on a contract; the second has begun the training."""
    add_contract(session)
    found = enrolled(session, *[someone(f"{name.lower()}@example.com", name) for name in ("Ada", "Bob", "Cleo", "Dan")])
    began = text("UPDATE enrollment SET progress = 'in_progress', started_at = now() WHERE id = :id")
    session.execute(began, {"id": found[1]})
    return found


def texts(*ids: UUID) -> list[str]:
    return [str(one) for one in ids]


def test_two_groups_keep_the_order_and_say_why(session: Session, people: list[UUID]) -> None:
    ada, bob, cleo, _ = people
    stranger = new_id()
    found = show_selection(session, KEY, "C-1", SelectionAsked(WITHDRAW, [cleo, bob, stranger, ada, cleo]))
    assert found is not None
    assert found["allowed"]["enrollment_ids"] == texts(cleo, ada)
    assert [one["first_name"] for one in found["allowed"]["participants"]] == ["Cleo", "Ada"]
    assert found["refused"]["enrollment_ids"] == texts(bob)
    assert found["refused"]["participants"][0]["can"]["withdraw"]["code"] == "already_started"
    assert (found["codes"], found["unknown"]) == ({"withdrawn": 2, "already_started": 1}, texts(stranger))
    assert found["complete"]


def test_each_group_is_shown_from_a_place_of_its_own(session: Session, people: list[UUID]) -> None:
    asked = SelectionAsked(WITHDRAW, people, shown=1, allowed_from=1)
    found = show_selection(session, KEY, "C-1", asked)
    assert found is not None
    assert len(found["allowed"]["enrollment_ids"]) == 3
    assert [one["first_name"] for one in found["allowed"]["participants"]] == ["Cleo"]
    assert [one["first_name"] for one in found["refused"]["participants"]] == ["Bob"]


def test_people_who_left_are_told_with_their_names(session: Session, people: list[UUID]) -> None:
    did(session, Withdraw(contract="C-1", enrollment_ids=people[:1]))
    found = show_selection(session, KEY, "C-1", SelectionAsked(WITHDRAW, people[:1]))
    assert found is not None
    [gone] = found["refused"]["participants"]
    assert (gone["first_name"], gone["can"]["withdraw"]["code"]) == ("Ada", "already_withdrawn")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Filter(), ["Dan", "Cleo", "Bob", "Ada"]),
        (Filter(progress=Progress.NOT_STARTED), ["Dan", "Cleo", "Ada"]),
        (Filter("cle"), ["Cleo"]),
        (Filter("cle bob"), []),
        (Filter("%"), []),
        (Filter(mail=DeliveryState.QUEUED), ["Dan", "Cleo", "Bob", "Ada"]),
        (Filter(mail=DeliveryState.SENT), []),
        (Filter(to_do=True), []),
    ],
)
def test_a_filter_selects_all_that_it_finds(
    session: Session, people: list[UUID], wanted: Filter, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.reading.participants.IDS_AT_ONCE", 2)
    found = show_selection(session, KEY, "C-1", SelectionAsked(PermittedAction.RESET, None, wanted))
    assert found is not None
    assert [one["first_name"] for one in found["allowed"]["participants"]] == names


def test_more_than_one_request_takes_is_told(
    session: Session, people: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "MOST", 3)
    found = show_selection(session, KEY, "C-1", SelectionAsked(PermittedAction.RESET, None))
    assert found is not None
    assert found["allowed"]["enrollment_ids"] == texts(*reversed(people[1:]))
    assert not found["complete"]


def test_a_selection_is_of_one_contract_that_the_key_may_see(session: Session, people: list[UUID]) -> None:
    add_contract(session, "C-2", company="autre")
    found = show_selection(session, KEY, "C-2", SelectionAsked(WITHDRAW, people))
    assert found is not None
    assert found["allowed"] == found["refused"] == {"enrollment_ids": [], "participants": []}
    assert found["unknown"] == texts(*people)
    limited = KEY._replace(companies=("autre",))
    assert show_selection(session, limited, "C-1", SelectionAsked(WITHDRAW, people)) is None


def test_every_action_is_judged_as_on_the_row_of_the_person(session: Session, people: list[UUID]) -> None:
    for action in PermittedAction:
        found = show_selection(session, KEY, "C-1", SelectionAsked(action, people))
        assert found is not None
        for group, allowed in (("allowed", True), ("refused", False)):
            assert all(one["can"][action]["allowed"] is allowed for one in found[group]["participants"])


def test_a_filter_that_few_fit_is_not_looked_for_in_all(
    session: Session, people: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participants, "MOST_PAGES_LISTED", 1)
    monkeypatch.setattr(participants, "IDS_AT_ONCE", 2)
    found = show_selection(session, KEY, "C-1", SelectionAsked(WITHDRAW, None, Filter(mail=DeliveryState.QUEUED)))
    assert found is not None
    assert len(found["allowed"]["enrollment_ids"] + found["refused"]["enrollment_ids"]) == 2
    assert not found["complete"]
