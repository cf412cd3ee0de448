"""Judges a selection of participants before something is asked for all of them at once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from models.participant import Permission, PermittedAction
from workers.database import Session
from workers.portals.keys import KnownKey
from workers.reading.participants import Filter, ListedIds, find_contract, judge, list_ids, read_of_contract
from workers.requests.base import MAX_ENROLLMENTS

MOST: Final = MAX_ENROLLMENTS
"""The most participants of a selection: as many as one request takes."""


class SelectionAsked(NamedTuple):
    """A selection that is asked about.

    Parameters:
      ids: the enrollments; None for all that a filter finds.
      shown: the most participants to show of each group.
      allowed_from, refused_from: the place in each group of the first one that is shown.
    """

    action: PermittedAction
    ids: Sequence[UUID] | None
    wanted: Filter = Filter()
    shown: int = 50
    allowed_from: int = 0
    refused_from: int = 0


def show_selection(session: Session, key: KnownKey, contract: str, asked: SelectionAsked) -> dict[str, Any] | None:
    """Says of a selection about whom the action may be taken, and about whom not and why.

    Both groups have the order of the selection; a participant who is in it twice is judged once. What the identifiers
    name that is no enrollment of the contract is told apart, without anything that is known of it.

    Returns: None when this key may see no such contract.
    """
    found = find_contract(session, key.portal_id, contract, key.companies)
    if found is None:
        return None
    ids, complete = _selected(session, found.id, asked)
    judged, people = _look(session, found.id, ids, asked)
    known = [one for one in ids if one in judged]
    allowed = [one for one in known if judged[one].allowed]
    refused = [one for one in known if not judged[one].allowed]
    shown = [allowed[asked.allowed_from :][: asked.shown], refused[asked.refused_from :][: asked.shown]]
    if people is None:
        people = _read(session, found.id, [one for part in shown for one in part])
    return {
        "codes": Counter(str(one.code) for one in judged.values()),
        "allowed": _group(allowed, shown[0], people),
        "refused": _group(refused, shown[1], people),
        "unknown": [str(one) for one in ids if one not in judged],
        "complete": complete,
    }


def _selected(session: Session, contract_id: UUID, asked: SelectionAsked) -> ListedIds:
    if asked.ids is None:
        return list_ids(session, contract_id, asked.wanted, MOST)
    ids = [*dict.fromkeys(asked.ids)]
    return ListedIds(ids[:MOST], len(ids) <= MOST)


def _look(
    session: Session, contract_id: UUID, ids: Sequence[UUID], asked: SelectionAsked
) -> tuple[Mapping[UUID, Permission], dict[str, dict[str, Any]] | None]:
    """Judges the participants; returns them as well when they are so few that all are read to be shown."""
    if len(ids) > asked.shown:
        return judge(session, contract_id, ids, asked.action), None
    people = _read(session, contract_id, ids)
    return {UUID(one): Permission(**shown["can"][asked.action]) for one, shown in people.items()}, people


def _read(session: Session, contract_id: UUID, ids: Sequence[UUID]) -> dict[str, dict[str, Any]]:
    return {one["enrollment_id"]: one for one in read_of_contract(session, contract_id, ids)}


def _group(ids: Sequence[UUID], shown: Sequence[UUID], people: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns one of the two groups: whom it has, and the participants of it that are shown."""
    return {
        "enrollment_ids": [str(one) for one in ids],
        "participants": [people[str(one)] for one in shown if str(one) in people],
    }
