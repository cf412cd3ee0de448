"""The list of addresses no mail is sent to: those that bounced, for a time, and those ops put there."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.email import (
    SuppressionListing,
    SuppressionReason,
    bounced,
    listed_by_ops,
)
from models.portal import LOCAL_PORTAL_ID
from workers.audit import record
from workers.database import Session, array

SUPPRESSED_SINCE: Final = """(SELECT s.created_at FROM suppression s WHERE s.email_norm = {address}
        AND (s.until IS NULL OR s.until > now()))"""
"""An SQL value: since when no mail is sent to this address, NULL when mails are."""

READ_SUPPRESSIONS = text("""
    SELECT email_norm, created_at FROM suppression
    WHERE email_norm = ANY(CAST(:emails AS text[])) AND (until IS NULL OR until > now())""")

# The row is made first, so that there is one to hold: of two mailers whose mails bounced, each reads what the other
# wrote. One that is there is held at once, or what had ended could be purged before it is read. In the order of the
# address, or they would deadlock.
INSERT_SUPPRESSIONS = text("""
    INSERT INTO suppression (email_norm, reason, until)
    SELECT email, :reason, now() FROM unnest(CAST(:emails AS text[])) email ORDER BY email
    ON CONFLICT (email_norm) DO UPDATE SET reason = suppression.reason""")

LOCK_SUPPRESSIONS = text("""
    SELECT email_norm, reason, created_at, until, now() AS now FROM suppression
    WHERE email_norm = ANY(CAST(:emails AS text[])) ORDER BY email_norm FOR UPDATE""")

UPDATE_SUPPRESSIONS = text("""
    UPDATE suppression s SET reason = t.reason, created_at = t.since, until = t.until
    FROM unnest(CAST(:emails AS text[]), CAST(:reasons AS text[]), CAST(:since AS timestamptz[]),
      CAST(:until AS timestamptz[])) t (email, reason, since, until)
    WHERE s.email_norm = t.email""")

READ_ADDRESSES = text("""
    SELECT DISTINCT to_address FROM email WHERE id = ANY(CAST(:mails AS uuid[])) AND to_address <> ''""")

DELETE_SUPPRESSION = text("""
    DELETE FROM suppression WHERE email_norm = :email RETURNING until IS NULL OR until > now() AS held""")

LIST_SUPPRESSIONS = text("""
    SELECT email_norm, reason, created_at, until FROM suppression WHERE until IS NULL OR until > now()
    ORDER BY created_at DESC, email_norm""")

FIND_ACCOUNT = text("SELECT id FROM account WHERE email_norm = :email")


class SuppressedAddress(NamedTuple):
    """An address on the list."""

    email: str
    reason: str
    since: datetime
    until: datetime | None


def read_suppressed(session: Session, emails: Collection[str]) -> dict[str, datetime]:
    """Those of these addresses no mail is sent to now, and since when."""
    found = session.execute(READ_SUPPRESSIONS, {"emails": list(emails)}) if emails else ()
    return {row.email_norm: row.created_at for row in found}


def suppress_bounced(session: Session, emails: Collection[str]) -> None:
    """Leaves alone, for a time, the addresses whose servers said that there is no such mailbox.

    Call it in the transaction that records those answers, with the rows of the mails held. Done again it only prolongs.
    """
    if not emails:
        return
    wanted = {"emails": sorted(set(emails)), "reason": SuppressionReason.HARD_BOUNCE}
    session.execute(INSERT_SUPPRESSIONS, wanted)
    held = session.execute(LOCK_SUPPRESSIONS, wanted).all()
    after = [
        bounced(SuppressionListing(SuppressionReason(row.reason), row.created_at, row.until), row.now) for row in held
    ]
    session.execute(
        UPDATE_SUPPRESSIONS,
        {
            "emails": [row.email_norm for row in held],
            "reasons": [listing.reason for listing in after],
            "since": [listing.since for listing in after],
            "until": [listing.until for listing in after],
        },
    )


def suppress_addresses_of(session: Session, mails: Collection[UUID]) -> None:
    """The same for the addresses these mails, which bounced, were sent to; their rows are held.

    Of a mail whose person was erased while it was being sent no address is left, and none is listed.
    """
    if mails:
        suppress_bounced(session, session.execute(READ_ADDRESSES, {"mails": array(mails)}).scalars().all())


def suppress(
    session: Session, email: str, *, why: str, requested_by: str, lasts: timedelta | None = None
) -> Literal["listed", "already_listed"]:
    """Puts an address on the list; audited without the address. Twice does it once.

    Parameters:
      why: for the audit trail; no name, no address.
      lasts: for how long, None until it is taken off; what stands there for longer stays.
    """
    session.execute(INSERT_SUPPRESSIONS, {"emails": [email], "reason": SuppressionReason.OPS})
    [known] = session.execute(LOCK_SUPPRESSIONS, {"emails": [email]})
    before = SuppressionListing(SuppressionReason(known.reason), known.created_at, known.until)
    after = listed_by_ops(before, known.now, lasts)
    if after == before:
        return "already_listed"
    written = {"reasons": [after.reason], "since": [after.since], "until": [after.until]}
    session.execute(UPDATE_SUPPRESSIONS, {"emails": [email]} | written)
    until = {"until": after.until.isoformat()} if after.until else {}
    _record(session, "suppress", email, requested_by, {"reason": why} | until)
    return "listed"


def lift(session: Session, email: str, *, requested_by: str) -> Literal["lifted", "not_listed"]:
    """Takes an address off the list, whyever it was on it; audited without the address."""
    if not session.execute(DELETE_SUPPRESSION, {"email": email}).scalar():
        return "not_listed"
    _record(session, "lift_suppression", email, requested_by, None)
    return "lifted"


def list_suppressed(session: Session) -> list[SuppressedAddress]:
    """Every address on the list, the latest first."""
    return [SuppressedAddress(*row) for row in session.execute(LIST_SUPPRESSIONS)]


def _record(session: Session, action: str, email: str, requested_by: str, detail: dict[str, str] | None) -> None:
    account_id: UUID | None = session.execute(FIND_ACCOUNT, {"email": email}).scalar()
    record(
        session,
        action,
        portal_id=LOCAL_PORTAL_ID,
        requested_by=requested_by,
        account_id=account_id,
        detail=detail,
    )
