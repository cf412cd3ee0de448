"""The filter by which operators choose jobs and mails, the same for commands that list and those that act."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.job import ERROR_CLASS, ERROR_REASON
from workers.database import Session, array
from workers.requests.base import lane_id
from workers.sql import fetch_values

TROUBLE: Final = f"coalesce(t.trouble, {ERROR_CLASS} || '|' || {ERROR_REASON} || '|')"
"""The SQL value of the trouble of a row; of one that an earlier release left, class and reason of its error."""

_PRINTED: Final = f"array_to_string(array_remove(string_to_array({TROUBLE}, '|'), ''), ' ')"

PLAIN: Final = """(CAST(:state AS text) = '' OR t.state = :state) AND (CAST(:kind AS text) = '' OR t.kind = :kind)
        AND (CAST(:queue AS text) = '' OR t.queue = :queue)"""
"""The SQL condition of rows of the wanted state, kind and queue."""

_OF_TROUBLE: Final = f"""(CAST(:trouble AS text) = '' OR {TROUBLE} = :trouble
          OR starts_with({TROUBLE}, CAST(:trouble AS text) || '|') OR {_PRINTED} = :trouble)"""

OF_PLACE: Final = {
    "job": """(CAST(:portal AS text) = '' OR t.portal_id = (SELECT p.id FROM portal p WHERE p.name = :portal))
        AND (CAST(:contract AS text) = '' OR t.lane = ANY(CAST(:lanes AS uuid[])))""",
    "email": """(CAST(:portal AS text) = '' AND CAST(:contract AS text) = '' OR t.contract_id IN (
          SELECT c.id FROM contract c JOIN portal p ON p.id = c.portal_id
          WHERE (CAST(:portal AS text) = '' OR p.name = :portal)
            AND (CAST(:contract AS text) = '' OR c.reference = :contract)))""",
}
"""The SQL condition of rows of the wanted portal and contract: of a job by its lane, of a mail by its contract."""

# Finds the portal with this name, or every portal.
FIND_PORTALS: Final = text("SELECT id FROM portal WHERE CAST(:portal AS text) IN ('', name)")


def narrowed(table: str, moment: str) -> str:
    """Returns the SQL condition of the rows of a ledger, called ``t``, that meet a filter.

    Parameters:
      moment: the column that `since` and `until` speak of.
    """
    return f"""{PLAIN} AND {OF_PLACE[table]} AND {_OF_TROUBLE}
        AND (CAST(:since AS timestamptz) IS NULL OR t.{moment} >= :since)
        AND (CAST(:until AS timestamptz) IS NULL OR t.{moment} < :until)"""


class RowFilter(NamedTuple):
    """The parts that rows must have in common for operators to choose them; an empty text and None mean anything.

    Parameters:
      ledger: `job` or `email`.
      trouble: an error as `matricule errors` shows it, or the beginning of its JSON form up to a bar.
    """

    ledger: str = ""
    state: str = ""
    kind: str = ""
    queue: str = ""
    portal: str = ""
    contract: str = ""
    trouble: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The parts that narrow something down, as JSON can hold them."""
        parts = {name: value for name, value in self._asdict().items() if value}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in parts.items()}


def parameters(session: Session, wanted: RowFilter) -> dict[str, Any]:
    """Returns the parameters of the conditions of this module."""
    given = {name: value for name, value in wanted._asdict().items() if name != "ledger"}
    return given | {"lanes": array(_lanes(session, wanted))}


def _lanes(session: Session, wanted: RowFilter) -> Sequence[UUID]:
    """Returns the lanes of the jobs of a contract, in each portal that may have it."""
    if not wanted.contract:
        return []
    portals = fetch_values(session, UUID, FIND_PORTALS, {"portal": wanted.portal})
    return [lane_id(portal, f"contract:{wanted.contract}") for portal in portals]


__all__ = ["OF_PLACE", "PLAIN", "TROUBLE", "RowFilter", "narrowed", "parameters"]
