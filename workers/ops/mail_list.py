"""Lists mails page by page, the latest first, and reads one with what is known of its address.

Mails to an address are found by an index when they have ended; those that are owed are found by the account, or among
the ones due last. Everything else is looked for among the next ``LOOKED_AT`` mails, and the page says so.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.job import ERROR_CLASS, ERROR_REASON
from workers.database import Session
from workers.ops.capped import read_by_index
from workers.ops.row_filter import RowFilter, narrowed, parameters
from workers.ops.stuck import STUCK
from workers.sql import fetch, fetch_one

PAGE: Final = 50
"""Mails of one page."""

LOOKED_AT: Final = 20_000
"""The mails that a page looks at when no index holds what is asked for."""

LAST: Final = UUID(int=2**128 - 1)
"""An identifier behind all others."""

LAST_CHARACTER: Final = "\U0010ffff"

OWED_LOOKED_AT: Final = 2_000
"""Owed mails of each queue that are looked at for an address, those due last."""

LISTED_COLUMNS: Final = """m.id, m.kind, m.queue, m.state, m.to_address, m.created_at, m.finished_at, m.due_at,
      m.expires_at, m.failures, m.dismissed_at, m.account_id, m.job_id,
      coalesce(m.result ->> 'code', m.error ->> 'reason', m.error ->> 'class') AS why"""

# Walks over the mails from one on, the later ones first, and no further than to a number of them.
WALK: Final = text(f"""
    SELECT {LISTED_COLUMNS} FROM (
      SELECT t.id FROM (
        SELECT * FROM email w WHERE w.id < :before ORDER BY w.id DESC LIMIT CAST(:looked_at AS bigint)) t
      WHERE {narrowed("email", "created_at")}
      ORDER BY t.id DESC LIMIT CAST(:limit AS bigint)) l
    CROSS JOIN LATERAL (SELECT * FROM email e WHERE e.id = l.id LIMIT 1) m ORDER BY m.id DESC""")

# Finds the last of the mails that such a walk looks at, if others are behind it.
FIND_END: Final = text("""
    SELECT w.id, w.created_at FROM email w WHERE w.id < :before ORDER BY w.id DESC
    OFFSET CAST(:looked_at AS bigint) - 1 LIMIT 1""")

# Lists the mails that were not sent for one error, in the order of the index that holds them.
LIST_OF_TROUBLE: Final = text(f"""
    SELECT {LISTED_COLUMNS} FROM (
      SELECT t.id FROM email t
      WHERE {STUCK["email"]} AND t.trouble IS NOT NULL AND t.trouble = :trouble
        AND (CAST(:queue AS text) = '' OR t.queue = :queue) AND (CAST(:kind AS text) = '' OR t.kind = :kind)
        AND (t.queue, t.kind, t.finished_at, t.id) > (:after_queue, :after_kind, :after_at, :after)
      ORDER BY t.queue, t.kind, t.finished_at, t.id LIMIT CAST(:limit AS bigint)) l
    CROSS JOIN LATERAL (SELECT * FROM email e WHERE e.id = l.id LIMIT 1) m
    ORDER BY m.queue, m.kind, m.finished_at, m.id""")

_BEGINS: Final = "{0}.to_address ~>=~ CAST(:low AS text) AND {0}.to_address ~<=~ CAST(:high AS text)"
"""The SQL condition of addresses between two: as bytes, like the index, and without a pattern that a plan must know."""

# Lists the mails to an address, or to those that begin with it: ended ones by an index, then those of the account, and
# those that are owed or being sent.
LIST_TO: Final = text(f"""
    SELECT {LISTED_COLUMNS} FROM (
      SELECT DISTINCT u.id FROM (
        (SELECT e.id FROM email e
          WHERE e.to_address = :address AND e.to_address <> '' AND e.finished_at IS NOT NULL AND e.id < :before
          ORDER BY e.id DESC LIMIT :most)
        UNION ALL
        (SELECT e.id FROM email e
          WHERE CAST(:begins AS boolean) AND {_BEGINS.format("e")} AND e.to_address <> ''
            AND e.finished_at IS NOT NULL AND e.id < :before
          LIMIT {LOOKED_AT // 10})
        UNION ALL
        (SELECT e.id FROM account a JOIN email e ON e.account_id = a.id
          WHERE a.email_norm = :address AND e.to_address = :address AND e.id < :before LIMIT :most)
        UNION ALL
        (SELECT w.id FROM unnest(CAST(:queues AS text[])) q (queue) CROSS JOIN LATERAL (
            SELECT e.id, e.to_address FROM email e WHERE e.queue = q.queue AND e.due_at IS NOT NULL
              AND e.leased_until IS NULL AND e.claim >= 0
            ORDER BY e.due_at DESC LIMIT CAST(:owed AS bigint)) w
          WHERE {_BEGINS.format("w")} AND w.id < :before)
        UNION ALL
        (SELECT r.id FROM unnest(CAST(:queues AS text[])) q (queue) CROSS JOIN LATERAL (
            SELECT e.id, e.to_address FROM email e WHERE e.queue = q.queue AND e.leased_until IS NOT NULL LIMIT 1000) r
          WHERE {_BEGINS.format("r")} AND r.id < :before)) u) l
    CROSS JOIN LATERAL (SELECT * FROM email e WHERE e.id = l.id LIMIT 1) m
    WHERE (CAST(:state AS text) = '' OR m.state = :state) AND (CAST(:kind AS text) = '' OR m.kind = :kind)
    ORDER BY m.id DESC LIMIT CAST(:limit AS bigint)""")

# Lists the mails of an account, the latest first.
LIST_OF: Final = text(f"""
    SELECT {LISTED_COLUMNS} FROM email m WHERE m.account_id = :account ORDER BY m.id DESC LIMIT :limit""")

# Reads the place of a mail in the list of an error.
READ_PLACE: Final = text("SELECT t.queue, t.kind, t.finished_at FROM email t WHERE t.id = :id")

# Reads a mail, with what its address, its contract and the process that claimed it last are.
READ_MAIL: Final = text(f"""
    SELECT {LISTED_COLUMNS}, m.locale, m.message_id, m.date, m.claim, m.rescues, m.started_at, m.leased_until,
      m.enrollment_id, m.trouble, m.result, m.error, c.reference AS contract, p.name AS portal, pr.host, pr.pid,
      su.reason AS suppressed_for, su.created_at AS suppressed_at, su.until AS suppressed_until,
      {ERROR_CLASS.replace("error::", "m.error::")} AS error_class,
      {ERROR_REASON.replace("error::", "m.error::")} AS error_reason
    FROM email m LEFT JOIN contract c ON c.id = m.contract_id LEFT JOIN portal p ON p.id = c.portal_id
    LEFT JOIN process pr ON pr.id = m.worker
    LEFT JOIN suppression su ON su.email_norm = m.to_address AND (su.until IS NULL OR su.until > now())
    WHERE m.id = :id""")


class ListedMail(NamedTuple):
    """A mail of a list; `why` is the code of its result, or else the reason or class of its last error."""

    id: UUID
    kind: str
    queue: str
    state: str
    to_address: str
    created_at: datetime
    finished_at: datetime | None
    due_at: datetime | None
    expires_at: datetime
    failures: int
    dismissed_at: datetime | None
    account_id: UUID | None
    job_id: UUID | None
    why: str | None


class MailFactsForOps(NamedTuple):
    """A mail with all that is kept of it.

    Parameters:
      suppressed_for: why its address gets no mail at present; None when it does.
    """

    id: UUID
    kind: str
    queue: str
    state: str
    to_address: str
    created_at: datetime
    finished_at: datetime | None
    due_at: datetime | None
    expires_at: datetime
    failures: int
    dismissed_at: datetime | None
    account_id: UUID | None
    job_id: UUID | None
    why: str | None
    locale: str
    message_id: str
    date: datetime
    claim: int
    rescues: int
    started_at: datetime | None
    leased_until: datetime | None
    enrollment_id: UUID | None
    trouble: str | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    contract: str | None
    portal: str | None
    host: str | None
    pid: int | None
    suppressed_for: str | None
    suppressed_at: datetime | None
    suppressed_until: datetime | None
    error_class: str
    error_reason: str


class MailsPage(NamedTuple):
    """One page of mails.

    Parameters:
      after: the mail behind which the next page begins; None after the last page.
      looked_to: the moment of the oldest mail that was looked at, when not all were; else None.
    """

    mails: list[ListedMail]
    after: UUID | None = None
    looked_to: datetime | None = None


class _Place(NamedTuple):
    queue: str
    kind: str
    finished_at: datetime | None


class _End(NamedTuple):
    id: UUID
    created_at: datetime


def list_mails(session: Session, wanted: RowFilter, *, to: str = "", after: UUID | None = None) -> MailsPage:
    """Lists the mails that match everything given.

    Parameters:
      to: a normalised address, or the beginning of one, which then ends with `*`.
      after: the last mail of the page before, or the last that it looked at.
    """
    read_by_index(session)
    before = after or LAST
    if to:
        return _paged(_list_to(session, wanted, to, before))
    if wanted.trouble and not (wanted.portal or wanted.contract):
        page = _list_of_trouble(session, wanted, after)
        if page.mails or after is not None:
            return page
    return _walk(session, wanted, before)


def list_mails_of(session: Session, account: UUID) -> list[ListedMail]:
    """Lists the mails of an account, the latest first; no more than one page."""
    read_by_index(session)
    return fetch(session, ListedMail, LIST_OF, {"account": account, "limit": PAGE})


def _paged(mails: list[ListedMail]) -> MailsPage:
    more = len(mails) > PAGE
    return MailsPage(mails[:PAGE], mails[PAGE - 1].id if more else None)


def _list_to(session: Session, wanted: RowFilter, to: str, before: UUID) -> list[ListedMail]:
    begun, star = to.removesuffix("*"), to.endswith("*")
    asked: dict[str, object] = {
        "low": begun,
        "high": begun + (LAST_CHARACTER if star else ""),
        "address": "" if star else begun,
    }
    asked |= {"begins": star, "before": before, "state": wanted.state}
    asked |= {"kind": wanted.kind, "queues": ["emails", "emails_bulk"], "owed": OWED_LOOKED_AT}
    return fetch(session, ListedMail, LIST_TO, asked | {"most": 4 * PAGE, "limit": PAGE + 1})


def _list_of_trouble(session: Session, wanted: RowFilter, after: UUID | None) -> MailsPage:
    place = None if after is None else fetch_one(session, _Place, READ_PLACE, {"id": after})
    queue, kind, at = place or _Place("", "", None)
    given = {"after_queue": queue, "after_kind": kind, "after_at": at or "-infinity", "after": after or UUID(int=0)}
    asked = {"trouble": wanted.trouble, "queue": wanted.queue, "kind": wanted.kind, "limit": PAGE + 1}
    return _paged(fetch(session, ListedMail, LIST_OF_TROUBLE, given | asked))


def _walk(session: Session, wanted: RowFilter, before: UUID) -> MailsPage:
    given = {"before": before, "looked_at": LOOKED_AT}
    page = _paged(fetch(session, ListedMail, WALK, parameters(session, wanted) | given | {"limit": PAGE + 1}))
    if page.after is not None:
        return page
    end = fetch_one(session, _End, FIND_END, given)
    return page if end is None else page._replace(after=end.id, looked_to=end.created_at)


def read_mail(session: Session, mail_id: UUID) -> MailFactsForOps | None:
    """Reads a mail; None when there is none with this identifier."""
    read_by_index(session)
    return fetch_one(session, MailFactsForOps, READ_MAIL, {"id": mail_id})


__all__ = [
    "LOOKED_AT",
    "PAGE",
    "ListedMail",
    "MailFactsForOps",
    "MailsPage",
    "list_mails",
    "list_mails_of",
    "read_mail",
]
