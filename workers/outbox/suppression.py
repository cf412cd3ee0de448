"""The suppression list: addresses that get no mail, because they bounced (for a time) or an operator listed them."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.email import (
    Suppression,
    SuppressionListing,
    SuppressionReason,
    list_after_bounce,
    list_after_complaint,
    list_by_operator,
)
from models.portal import LOCAL_PORTAL_ID
from workers.audit import record
from workers.database import Session, array, text_array
from workers.sql import Unnest, fetch, fetch_value, fetch_values

SUPPRESSED_SINCE: Final = """(SELECT su.created_at FROM suppression su WHERE su.email_norm = {address}
        AND (su.until IS NULL OR su.until > now()))"""
"""The SQL value for the moment since which an address is suppressed; NULL when it is not."""


class _ListedRow(NamedTuple):
    email_norm: str
    reason: str
    created_at: datetime
    until: datetime | None


class _SuppressedSince(NamedTuple):
    email_norm: str
    created_at: datetime


class _LockedRow(NamedTuple):
    email_norm: str
    reason: str
    created_at: datetime
    until: datetime | None
    now: datetime


_LISTINGS: Final = Unnest(_ListedRow, Suppression, alias="given")

# Reads which of these addresses are listed now, and since when.
READ_SUPPRESSIONS = text("""
    SELECT email_norm, created_at FROM suppression
    WHERE email_norm = ANY(CAST(:emails AS text[])) AND (until IS NULL OR until > now())""")

# The row is inserted first, so that there is a row to lock: when two mailers record a bounce, each then reads the row
# that the other wrote. An existing row is locked by the same statement, or an expired one could be purged before it is
# read. Rows are locked in the order of the address, or the mailers would deadlock.
INSERT_SUPPRESSIONS = text("""
    INSERT INTO suppression (email_norm, reason, until)
    SELECT email, :reason, now() FROM unnest(CAST(:emails AS text[])) email ORDER BY email
    ON CONFLICT (email_norm) DO UPDATE SET reason = suppression.reason""")

# Locks the entries of these addresses, also those that have ended.
LOCK_SUPPRESSIONS = text("""
    SELECT email_norm, reason, created_at, until, now() AS now FROM suppression
    WHERE email_norm = ANY(CAST(:emails AS text[])) ORDER BY email_norm FOR UPDATE""")

# Replaces the reason and times of entries.
UPDATE_SUPPRESSIONS = text(f"""
    UPDATE suppression su SET reason = given.reason, created_at = given.created_at, until = given.until
    FROM {_LISTINGS} WHERE su.email_norm = given.email_norm""")

# Reads the addresses these mails are for.
READ_ADDRESSES = text("""
    SELECT DISTINCT to_address FROM email WHERE id = ANY(CAST(:mails AS uuid[])) AND to_address <> ''""")

# Takes an address off the list, and tells whether its entry was still in force.
DELETE_SUPPRESSION = text("""
    DELETE FROM suppression WHERE email_norm = :email RETURNING until IS NULL OR until > now() AS held""")

# Lists the entries in force, the latest first.
LIST_SUPPRESSIONS = text("""
    SELECT email_norm, reason, created_at, until FROM suppression WHERE until IS NULL OR until > now()
    ORDER BY created_at DESC, email_norm""")

# Finds the account that has this address.
FIND_ACCOUNT = text("SELECT id FROM account WHERE email_norm = :email")


class SuppressedAddress(NamedTuple):
    """An address on the list, and the end of its suppression (None: until an operator lifts it)."""

    email: str
    reason: str
    since: datetime
    until: datetime | None


def read_suppressed(session: Session, emails: Collection[str]) -> dict[str, datetime]:
    """Finds the addresses among these that are suppressed now, each with the moment since when."""
    if not emails:
        return {}
    found = fetch(session, _SuppressedSince, READ_SUPPRESSIONS, {"emails": text_array(emails)})
    return {row.email_norm: row.created_at for row in found}


def suppress_bounced(session: Session, emails: Collection[str]) -> None:
    """Suppresses addresses for a time, after their servers said that the mailbox does not exist.

    It runs in the transaction that records those answers, with the rows of the mails locked. Another bounce extends the
    time.
    """
    if not emails:
        return
    wanted = {"emails": sorted(set(emails)), "reason": SuppressionReason.HARD_BOUNCE}
    session.execute(INSERT_SUPPRESSIONS, wanted)
    held = fetch(session, _LockedRow, LOCK_SUPPRESSIONS, {"emails": wanted["emails"]})
    after = [_listed(row.email_norm, list_after_bounce(_listing(row), row.now)) for row in held]
    session.execute(UPDATE_SUPPRESSIONS, _LISTINGS.parameters(after))


def suppress_complaining(session: Session, emails: Collection[str]) -> None:
    """Suppresses addresses after their owners called a mail spam, until an operator lifts each."""
    if not emails:
        return
    wanted = {"emails": sorted(set(emails)), "reason": SuppressionReason.COMPLAINT}
    session.execute(INSERT_SUPPRESSIONS, wanted)
    held = fetch(session, _LockedRow, LOCK_SUPPRESSIONS, {"emails": wanted["emails"]})
    after = [_listed(row.email_norm, list_after_complaint(_listing(row), row.now)) for row in held]
    session.execute(UPDATE_SUPPRESSIONS, _LISTINGS.parameters(after))


def suppress_addresses_of(session: Session, mails: Collection[UUID]) -> None:
    """Suppresses the addresses that these bounced mails were sent to; the rows of the mails must be locked.

    When a person was erased while their mail was being sent, the mail has no address left, and none is listed.
    """
    if mails:
        suppress_bounced(session, fetch_values(session, str, READ_ADDRESSES, {"mails": array(mails)}))


def suppress(
    session: Session, email: str, *, why: str, requested_by: str, lasts: timedelta | None = None
) -> Literal["listed", "already_listed"]:
    """Puts an address on the list for an operator; the audit trail does not contain the address.

    Parameters:
      why: the reason for the audit trail; no name, no address.
      lasts: the duration, or None until an operator lifts it; an existing longer listing stays.
    """
    session.execute(INSERT_SUPPRESSIONS, {"emails": [email], "reason": SuppressionReason.OPS})
    [known] = fetch(session, _LockedRow, LOCK_SUPPRESSIONS, {"emails": [email]})
    before = _listing(known)
    after = list_by_operator(before, known.now, lasts)
    if after == before:
        return "already_listed"
    session.execute(UPDATE_SUPPRESSIONS, _LISTINGS.parameters([_listed(email, after)]))
    until = {"until": after.until.isoformat()} if after.until else {}
    _record(session, "suppress", email, requested_by, {"reason": why} | until)
    return "listed"


def lift(session: Session, email: str, *, requested_by: str) -> Literal["lifted", "not_listed"]:
    """Takes an address off the list, whatever the reason for its listing; the audit trail does not contain it."""
    if not fetch_value(session, bool, DELETE_SUPPRESSION, {"email": email}):
        return "not_listed"
    _record(session, "lift_suppression", email, requested_by, None)
    return "lifted"


def list_suppressed(session: Session) -> list[SuppressedAddress]:
    """Lists every suppressed address, the latest first."""
    return [SuppressedAddress(*row) for row in fetch(session, _ListedRow, LIST_SUPPRESSIONS)]


def _listing(row: _LockedRow) -> SuppressionListing:
    return SuppressionListing(SuppressionReason(row.reason), row.created_at, row.until)


def _listed(email: str, listing: SuppressionListing) -> _ListedRow:
    return _ListedRow(email, listing.reason, listing.since, listing.until)


def _record(session: Session, action: str, email: str, requested_by: str, detail: dict[str, str] | None) -> None:
    account_id = fetch_value(session, UUID, FIND_ACCOUNT, {"email": email})
    record(
        session,
        action,
        portal_id=LOCAL_PORTAL_ID,
        requested_by=requested_by,
        account_id=account_id,
        detail=detail,
    )
