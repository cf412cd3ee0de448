"""Writes the links of accounts: at most one is live for each purpose and subject, and a lost one is replaced.

A link is lost when it expires or when its signing key is withdrawn; the mail that carries it then gets a new one. A
link that was used, or voided on purpose (the account was activated, its address corrected), is never replaced.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.link import LEAST_LEFT, LINK_LIFETIME, Link
from models.words import Purpose
from workers.database import Session, array
from workers.security.keys import signing_keys
from workers.sql import Unnest, change, fetch, fetch_values


class _NewLink(NamedTuple):
    id: UUID
    purpose: str
    account_id: UUID
    subject_id: UUID | None
    key_id: str
    lifetime: int
    resent: int


class _LiveLinkRow(NamedTuple):
    account_id: UUID
    resent: int
    expires_at: datetime


_NEW: Final = Unnest(_NewLink, Link, alias="given", others={"lifetime": "integer"})

_INSERT: Final = f"""
    INSERT INTO link (id, purpose, account_id, subject_id, key_id, expires_at, resent)
    SELECT id, purpose, account_id, subject_id, key_id, now() + make_interval(secs => lifetime), resent FROM {_NEW}"""

LIVE: Final = "consumed_at IS NULL AND voided_at IS NULL"
"""The SQL condition that a link was neither used nor voided."""

# Activating an account or correcting its address locks the whole row: either this transaction sees the change, or the
# change waits and then voids the link made here. Like every lock on accounts, these are in the order of the address.
LOCK_ACCOUNTS = text("""
    SELECT a.id FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[])) AND (a.activated_at IS NULL OR :activated)
    ORDER BY a.email_norm FOR KEY SHARE""")

# Locks are taken in the order of the account, as in INSERT_LINKS: two transactions about the same people would
# deadlock. A link of an older key gets no more time (the key is kept 31 days), so it is replaced when little is left.
VOID_DEAD_LINKS = text(f"""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND purpose = :purpose AND {LIVE}
        AND (expires_at <= now() OR NOT key_id = ANY(CAST(:keys AS text[]))
          OR (key_id <> :newest AND expires_at < now() + :least))
      ORDER BY account_id FOR NO KEY UPDATE) dead
    WHERE link.id = dead.id RETURNING link.account_id""")

# Voids links of these subjects that ended or were signed with a key that is gone, and returns their ids.
VOID_DEAD_SUBJECT_LINKS = text(f"""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE subject_id = ANY(CAST(:subjects AS uuid[])) AND purpose = :purpose AND {LIVE}
        AND (expires_at <= now() OR NOT key_id = ANY(CAST(:keys AS text[])))
      ORDER BY subject_id FOR NO KEY UPDATE) dead
    WHERE link.id = dead.id RETURNING link.id""")

# Voids every live link of an account.
VOID_LINKS = text(f"UPDATE link SET voided_at = now() WHERE account_id = :account AND {LIVE}")

# Voids the live links of an account about one subject.
VOID_SUBJECT_LINKS = text(f"""
    UPDATE link SET voided_at = now() WHERE account_id = :account AND subject_id = :subject AND {LIVE}""")

# An account has one live link: a person enrolled twice before activating gets the same link with more time, unless an
# older key signed it, which is kept for 31 days only.
INSERT_LINKS = text(f"""{_INSERT} ORDER BY account_id
    ON CONFLICT (account_id, purpose) WHERE {LIVE} AND subject_id IS NULL
    DO UPDATE SET expires_at = greatest(link.expires_at, excluded.expires_at)
    WHERE link.key_id = excluded.key_id""")

# An older key is kept 31 days: a link of an hour may be extended under it, but one of 30 days would outlive the key.
EXTEND_LINKS = text(f"""{_INSERT} ORDER BY account_id
    ON CONFLICT (account_id, purpose) WHERE {LIVE} AND subject_id IS NULL
    DO UPDATE SET resent = link.resent + excluded.resent + 1,
      expires_at = CASE WHEN link.key_id = excluded.key_id OR :short_lived
        THEN greatest(link.expires_at, excluded.expires_at) ELSE link.expires_at END""")

# Inserts no link where one was used, or voided on purpose. When two mailers insert at once, the second finds the link
# of the first.
INSERT_SUBJECT_LINKS = text(f"""{_INSERT}
    WHERE NOT EXISTS (
      SELECT 1 FROM link known WHERE known.account_id = given.account_id AND known.subject_id = given.subject_id
        AND known.purpose = given.purpose AND NOT known.id = ANY(CAST(:replaced AS uuid[])))
    ORDER BY subject_id
    ON CONFLICT (subject_id, purpose) WHERE {LIVE} AND subject_id IS NOT NULL DO NOTHING""")

# Reads which of these accounts have a live link for a purpose, and how often it was sent again.
READ_LIVE_LINKS = text(f"""
    SELECT account_id, resent, expires_at FROM link
    WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND purpose = :purpose AND {LIVE} AND expires_at > now()
      AND key_id = ANY(CAST(:keys AS text[]))""")

LEAST: Final = {Purpose.ACTIVATION: LEAST_LEFT, Purpose.PASSWORD_RESET: timedelta(0)}
"""The time that a link under an older key must have left when it is sent again; with less it is replaced."""


class LiveLink(NamedTuple):
    """A link that can be used, the number of times it was sent again, and the end of its validity."""

    resent: int
    ends_at: datetime


def read_live_links(session: Session, purpose: Purpose, accounts: Collection[UUID]) -> dict[UUID, LiveLink]:
    """Reads the live links of these accounts; an account without one is left out."""
    if not accounts:
        return {}
    asked = {"accounts": array(accounts), "purpose": purpose, "keys": list(signing_keys().key_ids)}
    return {
        row.account_id: LiveLink(row.resent, row.expires_at)
        for row in fetch(session, _LiveLinkRow, READ_LIVE_LINKS, asked)
    }


def resend_links(session: Session, purpose: Purpose, times: Mapping[UUID, int]) -> None:
    """Extends the live link of each of these accounts, or makes one for an account without.

    Parameters:
      times: the number of times each account is sent its link now: more than once when several jobs of a batch ask for
        it. This transaction must hold locks on the accounts.
    """
    if not times:
        return
    _void_dead(session, times, LEAST[purpose], purpose)
    links = [_new(purpose, account, resent=count - 1) for account, count in times.items()]
    session.execute(EXTEND_LINKS, _NEW.parameters(links) | {"short_lived": purpose is Purpose.PASSWORD_RESET})


def offer_links(session: Session, accounts: Collection[UUID], *, known: Collection[UUID]) -> None:
    """Gives each of these accounts an activation link with enough time; they are locked and none is activated.

    Parameters:
      known: the accounts among them that existed before and may have a link.
    """
    if known:
        _void_dead(session, known, LEAST_LEFT, Purpose.ACTIVATION)
    _insert(session, accounts, Purpose.ACTIVATION)


def replace_dead_links(session: Session, accounts: Collection[UUID], purpose: Purpose) -> None:
    """Replaces the links of these accounts that expired or lost their key, except those that were voided meanwhile."""
    asked = {"accounts": list(accounts), "activated": purpose is Purpose.PASSWORD_RESET}
    waiting = fetch_values(session, UUID, LOCK_ACCOUNTS, asked)
    voided = _void_dead(session, waiting, timedelta(0), purpose)
    if voided:
        _insert(session, voided, purpose)


def offer_subject_links(
    session: Session, purpose: Purpose, subjects: Mapping[UUID, UUID], *, ended: Collection[UUID] = ()
) -> None:
    """Makes a link about each of these subjects, unless one was used or voided on purpose. The accounts are locked.

    Parameters:
      subjects: the account of each subject (a correction, an enrollment).
      ended: the subjects among them with a link that expired or lost its key, which is replaced.
    """
    asked = {"subjects": array(ended), "purpose": purpose, "keys": list(signing_keys().key_ids)}
    replaced = fetch_values(session, UUID, VOID_DEAD_SUBJECT_LINKS, asked) if ended else []
    links = [_new(purpose, account, subject) for subject, account in subjects.items()]
    session.execute(INSERT_SUBJECT_LINKS, _NEW.parameters(links) | {"replaced": array(replaced)})


def void_links(session: Session, account_id: UUID, *, subject_id: UUID | None = None) -> int:
    """Voids all live links of an account, or those about one subject; returns their number."""
    if subject_id is None:
        return change(session, VOID_LINKS, {"account": account_id})
    return change(session, VOID_SUBJECT_LINKS, {"account": account_id, "subject": subject_id})


def _void_dead(session: Session, accounts: Iterable[UUID], least: timedelta, purpose: Purpose) -> Sequence[UUID]:
    keys = signing_keys()
    asked: dict[str, Any] = {
        "accounts": array(accounts),
        "purpose": purpose,
        "keys": list(keys.key_ids),
        "newest": keys.newest,
        "least": least,
    }
    return fetch_values(session, UUID, VOID_DEAD_LINKS, asked)


def _insert(session: Session, accounts: Iterable[UUID], purpose: Purpose) -> None:
    session.execute(INSERT_LINKS, _NEW.parameters([_new(purpose, account) for account in accounts]))


def _new(purpose: Purpose, account_id: UUID, subject_id: UUID | None = None, *, resent: int = 0) -> _NewLink:
    lifetime = int(LINK_LIFETIME[purpose].total_seconds())
    return _NewLink(new_id(), purpose, account_id, subject_id, signing_keys().newest, lifetime, resent)
