"""Lists what operators did, from the audit trail, the latest first."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from workers.database import Session
from workers.ops.capped import read_by_index
from workers.sql import fetch, fetch_value

PAGE: Final = 50

LOOKED_AT: Final = 10_000
"""Entries of the audit trail that one page looks at: those of portals and schedules are among them."""

# Walks over the audit trail from an entry on, and keeps what people at a shell or in the console did. A portal may give
# its requesters such names, so its entries are left out; and so are those of each row of an action, which has its own.
LIST: Final = text(f"""
    SELECT o.id, o.at, o.requested_by, o.action, o.result, o.account_id, o.company_id, o.subject_id, o.job_id, o.detail
    FROM (
      SELECT * FROM audit a WHERE a.id < CAST(:before AS bigint) ORDER BY a.id DESC LIMIT CAST(:looked_at AS bigint)) o
    WHERE (o.requested_by LIKE 'ops:%' OR o.requested_by LIKE 'shell:%')
      AND o.detail ->> 'action' IS NULL AND coalesce(o.portal_id = '{LOCAL_PORTAL_ID}', true)
    ORDER BY o.id DESC LIMIT CAST(:limit AS bigint)""")

# Finds the last entry that such a walk looks at, if others are behind it.
FIND_END: Final = text("""
    SELECT a.id FROM audit a WHERE a.id < CAST(:before AS bigint) ORDER BY a.id DESC
    OFFSET CAST(:looked_at AS bigint) - 1 LIMIT 1""")


class OpsEntry(NamedTuple):
    """One thing that an operator did, at a shell (`shell:name`) or in the console (`ops:name`)."""

    id: int
    at: datetime
    requested_by: str
    action: str
    result: str
    account_id: UUID | None
    company_id: UUID | None
    subject_id: UUID | None
    job_id: UUID | None
    detail: dict[str, Any] | None


class OpsEntries(NamedTuple):
    """A page of entries; `after` is the one behind which the next page begins, None after the last."""

    entries: list[OpsEntry]
    after: int | None


def list_ops_audit(session: Session, *, before: int | None = None) -> OpsEntries:
    """Lists what operators did.

    Parameters:
      before: the last entry of the page before, or the last that it looked at.
    """
    read_by_index(session)
    given = {"before": before if before is not None else 2**63 - 1, "looked_at": LOOKED_AT}
    found = fetch(session, OpsEntry, LIST, given | {"limit": PAGE + 1})
    if len(found) > PAGE:
        return OpsEntries(found[:PAGE], found[PAGE - 1].id)
    return OpsEntries(found, fetch_value(session, int, FIND_END, given))


__all__ = ["OpsEntries", "OpsEntry", "list_ops_audit"]
