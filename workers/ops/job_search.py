"""Searches the ledger: which jobs there are, in which state, and why."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select

from models.account import Account
from models.address import normalise_email
from models.words import Code
from workers.database import Session, array
from workers.ops.audit_search import find_account
from workers.ops.capped import read_by_index
from workers.ops.row_filter import OF_PLACE, PLAIN, RowFilter, parameters
from workers.people.typed_rows import sought_person
from workers.security.address_tokens import tokens_of
from workers.sql import fetch


class PersonToFind(NamedTuple):
    """A person to find jobs of.

    Parameters:
      account_id: None when no account has the address.
      addresses: as they are typed; those that the account had before, too.
    """

    account_id: UUID | None
    addresses: tuple[str, ...]


class FoundJob(NamedTuple):
    """One job of the ledger, without what was asked and without the people of its result.

    Parameters:
      portal: the portal that asked.
      why: the code of its result, or else the class of its last error.
      due_at: when it is tried next; None while it runs and once it is finished.
      dismissed_at: when an operator said that it is no problem.
      failures, rescues: attempts that failed, and leases that ran out.
    """

    id: UUID
    portal: str
    kind: str
    queue: str
    state: str
    why: str | None
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    dismissed_at: datetime | None
    failures: int
    rescues: int


LAST: Final = UUID(int=2**128 - 1)
"""An identifier behind all others."""

LOOKED_AT: Final = 20_000
"""The newest jobs of each portal, kind and state that are looked at for a queue or a contract: no index holds them."""

SHOWN_COLUMNS: Final = """j.id, l.portal, j.kind, j.queue, j.state,
      coalesce(j.result ->> 'code', j.error ->> 'code', j.error ->> 'class') AS why, j.requested_by, j.created_at,
      j.started_at, j.finished_at, j.due_at, j.dismissed_at, j.failures, j.rescues"""

_IN_TIME: Final = """j.created_at >= CAST(:since AS timestamptz) AND j.created_at < CAST(:until AS timestamptz)
            AND (j.created_at, j.id) < (CAST(:before_at AS timestamptz), CAST(:before AS uuid))"""

_UNLESS_ROUTINE: Final = """(CAST(:with_schedules AS boolean)
          OR {0}.state <> 'succeeded' OR {0}.kind NOT IN (SELECT s.kind FROM schedule s))"""

# Finds the latest jobs with the wanted portal, kind and state. An index holds the jobs of each such group in the order
# of time: the statement jumps from group to group, of which there are few, and reads the end of each that is wanted;
# further than it lists only for what the index does not hold.
SEARCH_JOBS = text(f"""
    WITH RECURSIVE g (portal_id, kind, state) AS (
      (SELECT portal_id, kind, state FROM job ORDER BY portal_id, kind, state LIMIT 1)
      UNION ALL
      SELECT n.portal_id, n.kind, n.state FROM g CROSS JOIN LATERAL (
        SELECT j.portal_id, j.kind, j.state FROM job j
        WHERE (j.portal_id, j.kind, j.state) > (g.portal_id, g.kind, g.state)
        ORDER BY j.portal_id, j.kind, j.state LIMIT 1) n),
    latest AS (
      SELECT o.id, p.name AS portal FROM g JOIN portal p ON p.id = g.portal_id CROSS JOIN LATERAL (
        SELECT t.id, t.created_at FROM (
          SELECT j.id, j.created_at, j.queue, j.lane FROM job j
          WHERE j.portal_id = g.portal_id AND j.kind = g.kind AND j.state = g.state AND {_IN_TIME}
          ORDER BY j.created_at DESC, j.id DESC LIMIT CAST(:looked_at AS bigint)) t
        WHERE CAST(:queue AS text) IN ('', t.queue)
          AND (CAST(:contract AS text) = '' OR t.lane = ANY(CAST(:lanes AS uuid[])))
        ORDER BY t.created_at DESC, t.id DESC LIMIT CAST(:limit AS bigint)) o
      WHERE CAST(:portal AS text) IN ('', p.name) AND CAST(:kind AS text) IN ('', g.kind)
        AND CAST(:state AS text) IN ('', g.state) AND {_UNLESS_ROUTINE.format("g")}
      ORDER BY o.created_at DESC, o.id DESC LIMIT CAST(:limit AS bigint))
    SELECT {SHOWN_COLUMNS}
    FROM latest l CROSS JOIN LATERAL (SELECT * FROM job j WHERE j.id = l.id LIMIT 1) j
    ORDER BY j.created_at DESC, j.id DESC""")

# Finds the latest jobs of a person: those that enrolled them, owed them a mail, are in the audit trail with them, or
# in which one of their addresses was typed, also when nothing came of it.
SEARCH_OF_PERSON = text(f"""
    WITH l AS (
      SELECT t.*, p.name AS portal FROM (
        SELECT job_id FROM enrollment WHERE account_id = :account
        UNION
        SELECT job_id FROM email WHERE account_id = :account
        UNION
        SELECT job_id FROM audit WHERE account_id = :account
        UNION
        SELECT job_id FROM job_address WHERE token = ANY(CAST(:tokens AS uuid[]))) theirs
      CROSS JOIN LATERAL (SELECT * FROM job j WHERE j.id = theirs.job_id AND {_IN_TIME} LIMIT 1) t
      JOIN portal p ON p.id = t.portal_id
      WHERE {PLAIN} AND {OF_PLACE["job"]} AND {_UNLESS_ROUTINE.format("t")}
      ORDER BY t.created_at DESC, t.id DESC LIMIT CAST(:limit AS bigint))
    SELECT {SHOWN_COLUMNS} FROM l CROSS JOIN LATERAL (SELECT * FROM job j WHERE j.id = l.id LIMIT 1) j
    ORDER BY j.created_at DESC, j.id DESC""")


def search_jobs(
    session: Session,
    wanted: RowFilter,
    *,
    person: PersonToFind | None = None,
    limit: int = 100,
    with_schedules: bool = True,
    before: tuple[datetime, UUID] | None = None,
) -> list[FoundJob]:
    """Lists the jobs that match everything given, the latest first.

    Of a queue or a contract only the newest jobs of each portal, kind and state are looked at (``LOOKED_AT``).

    Parameters:
      wanted: `since` and `until` speak of the moment they were recorded at; its `ledger` and `trouble` say nothing.
      person: only jobs that enrolled this person, owed them a mail, are in the audit trail with them, or in which one
        of their addresses was typed, in requests about up to a thousand people (``models.job.JobAddress``).
      with_schedules: False leaves out the jobs of schedules that succeeded: there are thousands a day.
      before: the moment and the identifier of a job; only those that come behind it in the list.
    """
    read_by_index(session)
    asked = parameters(session, wanted) | {"limit": limit, "with_schedules": with_schedules}
    asked |= {"since": wanted.since or "-infinity", "until": wanted.until or "infinity"}
    asked |= {"before_at": before[0] if before else "infinity", "before": before[1] if before else LAST}
    asked["looked_at"] = LOOKED_AT if wanted.queue or wanted.contract else limit
    if person is None:
        return fetch(session, FoundJob, SEARCH_JOBS, asked)
    theirs = {"account": person.account_id, "tokens": array(tokens_of(person.addresses))}
    return fetch(session, FoundJob, SEARCH_OF_PERSON, asked | theirs)


def find_sought(session: Session, said: str) -> PersonToFind:
    """Returns the person with this address, or with the account of this identifier.

    An address without an account is sought as well: it may have been typed in a request that was refused.
    """
    account = _account_of_id(said)
    if account is not None:
        known = session.exec(select(Account.email_norm).where(Account.id == account)).one_or_none()
        return PersonToFind(account, ()) if known is None else _with_addresses(session, account, known)
    address = normalise_email(said)
    email = said if isinstance(address, Code) else address
    account = find_account(session, email)
    return PersonToFind(None, (email,)) if account is None else _with_addresses(session, account, email)


def _account_of_id(said: str) -> UUID | None:
    try:
        return UUID(said)
    except ValueError:
        return None


def _with_addresses(session: Session, account: UUID, email: str) -> PersonToFind:
    """Adds the addresses that this account had before, unless another account has them now."""
    return PersonToFind(account, sought_person(session, account, email).addresses)


__all__ = ["FoundJob", "PersonToFind", "find_sought", "search_jobs"]
