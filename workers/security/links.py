"""The links of an account: at most one is live for each purpose and subject, and none is allowed to become a dead end.

A link ends by time, or when the key it was signed with is withdrawn; then the mail that carries it gets another. A link
that was used, or voided on purpose (the account was activated, its address corrected), is never brought back.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import CursorResult, text

from models.base import new_id
from models.link import LEAST_LEFT, LINK_LIFETIME, Link
from models.words import Purpose
from workers.database import Session, array
from workers.security.keys import signing_keys
from workers.sql import Unnest, fetch


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
"""An SQL condition: the link was neither used nor voided."""

# Against the whole-row lock under which an account is activated or its address corrected: either that is seen here, or
# it waits and voids the link made here. In the order of the address, like every other lock on accounts.
LOCK_ACCOUNTS = text("""
    SELECT a.id FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[])) AND (a.activated_at IS NULL OR :activated)
    ORDER BY a.email_norm FOR KEY SHARE""")

# In the order of the account, as INSERT_LINKS: two transactions that meet on the same people would deadlock. A link of
# an older key gets no more time (the key is kept 31 days), so it is replaced when too little is left.
VOID_DEAD_LINKS = text(f"""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND purpose = :purpose AND {LIVE}
        AND (expires_at <= now() OR NOT key_id = ANY(CAST(:keys AS text[]))
          OR (key_id <> :newest AND expires_at < now() + :least))
      ORDER BY account_id FOR NO KEY UPDATE) dead
    WHERE link.id = dead.id RETURNING link.account_id""")

VOID_DEAD_SUBJECT_LINKS = text(f"""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE subject_id = ANY(CAST(:subjects AS uuid[])) AND purpose = :purpose AND {LIVE}
        AND (expires_at <= now() OR NOT key_id = ANY(CAST(:keys AS text[])))
      ORDER BY subject_id FOR NO KEY UPDATE) dead
    WHERE link.id = dead.id RETURNING link.id""")

VOID_LINKS = text(f"UPDATE link SET voided_at = now() WHERE account_id = :account AND {LIVE}")

VOID_SUBJECT_LINKS = text(f"""
    UPDATE link SET voided_at = now() WHERE account_id = :account AND subject_id = :subject AND {LIVE}""")

# One live link per account: a person enrolled twice before activating gets the same link, and more time; not past the
# 31 days an older key is kept.
INSERT_LINKS = text(f"""{_INSERT} ORDER BY account_id
    ON CONFLICT (account_id, purpose) WHERE {LIVE} AND subject_id IS NULL
    DO UPDATE SET expires_at = greatest(link.expires_at, excluded.expires_at)
    WHERE link.key_id = excluded.key_id""")

# An hour more is nothing beside the 31 days an older key is kept; 30 days more would outlive it.
EXTEND_LINKS = text(f"""{_INSERT} ORDER BY account_id
    ON CONFLICT (account_id, purpose) WHERE {LIVE} AND subject_id IS NULL
    DO UPDATE SET resent = link.resent + excluded.resent + 1,
      expires_at = CASE WHEN link.key_id = excluded.key_id OR :short_lived
        THEN greatest(link.expires_at, excluded.expires_at) ELSE link.expires_at END""")

# None where a link was used, or voided on purpose; of two mailers at once the second finds the link of the first.
INSERT_SUBJECT_LINKS = text(f"""{_INSERT}
    WHERE NOT EXISTS (
      SELECT 1 FROM link known WHERE known.account_id = given.account_id AND known.subject_id = given.subject_id
        AND known.purpose = given.purpose AND NOT known.id = ANY(CAST(:replaced AS uuid[])))
    ORDER BY subject_id
    ON CONFLICT (subject_id, purpose) WHERE {LIVE} AND subject_id IS NOT NULL DO NOTHING""")

READ_LIVE_LINKS = text(f"""
    SELECT account_id, resent, expires_at FROM link
    WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND purpose = :purpose AND {LIVE} AND expires_at > now()
      AND key_id = ANY(CAST(:keys AS text[]))""")

LEAST: Final = {Purpose.ACTIVATION: LEAST_LEFT, Purpose.PASSWORD_RESET: timedelta(0)}
"""The time a link under an older key must have left when it is sent again; with less it is replaced."""


class LiveLink(NamedTuple):
    """A link that can be used: how often it was sent again, and when it ends."""

    resent: int
    ends_at: datetime


def read_live_links(session: Session, purpose: Purpose, accounts: Collection[UUID]) -> dict[UUID, LiveLink]:
    """The live link of each of these accounts that has one."""
    if not accounts:
        return {}
    asked = {"accounts": array(accounts), "purpose": purpose, "keys": list(signing_keys().key_ids)}
    return {
        row.account_id: LiveLink(row.resent, row.expires_at)
        for row in fetch(session, _LiveLinkRow, READ_LIVE_LINKS, asked)
    }


def resend_links(session: Session, purpose: Purpose, times: Mapping[UUID, int]) -> None:
    """Gives the live link of each of these accounts more time, or a link to an account without one.

    Parameters:
      times: how often each is sent its link now: once, unless several jobs of a batch ask for it. This transaction
        holds the rows of the accounts.
    """
    if not times:
        return
    _void_dead(session, times, LEAST[purpose], purpose)
    links = [_new(purpose, account, resent=count - 1) for account, count in times.items()]
    session.execute(EXTEND_LINKS, _NEW.parameters(links) | {"short_lived": purpose is Purpose.PASSWORD_RESET})


def offer_links(session: Session, accounts: Collection[UUID], *, known: Collection[UUID]) -> None:
    """An activation link with enough time for each of these accounts; none is activated and their rows are held.

    Parameters:
      known: the accounts among them that existed before and may have a link.
    """
    if known:
        _void_dead(session, known, LEAST_LEFT, Purpose.ACTIVATION)
    _insert(session, accounts, Purpose.ACTIVATION)


def replace_dead_links(session: Session, accounts: Collection[UUID], purpose: Purpose) -> None:
    """A new link for each of these accounts whose link has expired or lost its key, unless it was voided meanwhile."""
    asked = {"accounts": list(accounts), "activated": purpose is Purpose.PASSWORD_RESET}
    waiting = session.execute(LOCK_ACCOUNTS, asked).scalars().all()
    voided = _void_dead(session, waiting, timedelta(0), purpose)
    if voided:
        _insert(session, voided, purpose)


def offer_subject_links(
    session: Session, purpose: Purpose, subjects: Mapping[UUID, UUID], *, ended: Collection[UUID] = ()
) -> None:
    """A link about each of these subjects, unless one was used or voided on purpose. The accounts are held.

    Parameters:
      subjects: the account of each subject (a correction, an enrollment).
      ended: the subjects among them whose link has ended by time or with its key, and is replaced.
    """
    asked = {"subjects": array(ended), "purpose": purpose, "keys": list(signing_keys().key_ids)}
    replaced = session.execute(VOID_DEAD_SUBJECT_LINKS, asked).scalars().all() if ended else ()
    links = [_new(purpose, account, subject) for subject, account in subjects.items()]
    session.execute(INSERT_SUBJECT_LINKS, _NEW.parameters(links) | {"replaced": array(replaced)})


def void_links(session: Session, account_id: UUID, *, subject_id: UUID | None = None) -> int:
    """Voids all live links of an account, or those about one subject; returns how many there were."""
    if subject_id is None:
        return _changed(session.execute(VOID_LINKS, {"account": account_id}))
    return _changed(session.execute(VOID_SUBJECT_LINKS, {"account": account_id, "subject": subject_id}))


def _changed(result: Any) -> int:
    return result.rowcount if isinstance(result, CursorResult) else 0


def _void_dead(session: Session, accounts: Iterable[UUID], least: timedelta, purpose: Purpose) -> Sequence[UUID]:
    keys = signing_keys()
    asked: dict[str, Any] = {
        "accounts": array(accounts),
        "purpose": purpose,
        "keys": list(keys.key_ids),
        "newest": keys.newest,
        "least": least,
    }
    return session.execute(VOID_DEAD_LINKS, asked).scalars().all()


def _insert(session: Session, accounts: Iterable[UUID], purpose: Purpose) -> None:
    session.execute(INSERT_LINKS, _NEW.parameters([_new(purpose, account) for account in accounts]))


def _new(purpose: Purpose, account_id: UUID, subject_id: UUID | None = None, *, resent: int = 0) -> _NewLink:
    lifetime = int(LINK_LIFETIME[purpose].total_seconds())
    return _NewLink(new_id(), purpose, account_id, subject_id, signing_keys().newest, lifetime, resent)
