"""The links of an account: one that lives for each purpose, and another before it becomes a dead end.

A link ends by time, or when the key it was signed with is withdrawn; then whoever owes its mail replaces it. A link
that was used or voided on purpose (the account was activated, its address corrected) is no link any more: nothing here
brings it back.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.link import LEAST_LEFT, LINK_LIFETIME
from models.words import Purpose
from workers.database import Session, array
from workers.security.keys import signing_keys

# Against the whole-row lock under which an account is activated or its address corrected: either that is seen here, or
# it waits and voids the link made here. In the order of the address, like every other lock on accounts.
LOCK_ACCOUNTS = text("""
    SELECT id FROM account WHERE id = ANY(CAST(:accounts AS uuid[])) AND (activated_at IS NULL OR :activated)
    ORDER BY email_norm FOR KEY SHARE""")

# In the order of the account, as INSERT: two transactions meeting on the same people would deadlock. A link of an older
# key gets no more time (the key is kept 31 days), so it is replaced when too little is left.
VOID_DEAD_LINKS = text("""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND purpose = :purpose
        AND consumed_at IS NULL AND voided_at IS NULL
        AND (expires_at <= now() OR NOT key_id = ANY(CAST(:keys AS text[]))
          OR (key_id <> :newest AND expires_at < now() + :least))
      ORDER BY account_id FOR NO KEY UPDATE) dead
    WHERE link.id = dead.id RETURNING link.account_id""")

# One live link per account: somebody enrolled twice before activating gets the same link, and more time; not past the
# 31 days an older key is kept.
INSERT_LINKS = text("""
    INSERT INTO link (id, purpose, account_id, key_id, expires_at)
    SELECT t.id, :purpose, t.account_id, :newest, now() + :lifetime
    FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[])) t (id, account_id) ORDER BY t.account_id
    ON CONFLICT (account_id, purpose) WHERE consumed_at IS NULL AND voided_at IS NULL AND subject_id IS NULL
    DO UPDATE SET expires_at = greatest(link.expires_at, excluded.expires_at)
    WHERE link.key_id = excluded.key_id""")


READ_LIVE_LINKS = text("""
    SELECT account_id, resent, expires_at FROM link
    WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND purpose = :purpose AND consumed_at IS NULL
      AND voided_at IS NULL AND expires_at > now() AND key_id = ANY(CAST(:keys AS text[]))""")

# An hour more is nothing beside the 31 days an older key is kept; 30 days more would outlive it.
EXTEND_LINKS = text("""
    INSERT INTO link (id, purpose, account_id, key_id, expires_at, resent)
    SELECT t.id, :purpose, t.account_id, :newest, now() + :lifetime, t.times - 1
    FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[]), CAST(:times AS int[])) t (id, account_id, times)
    ORDER BY t.account_id
    ON CONFLICT (account_id, purpose) WHERE consumed_at IS NULL AND voided_at IS NULL AND subject_id IS NULL
    DO UPDATE SET resent = link.resent + excluded.resent + 1,
      expires_at = CASE WHEN link.key_id = excluded.key_id OR :short_lived
        THEN greatest(link.expires_at, excluded.expires_at) ELSE link.expires_at END""")

LEAST: Final = {Purpose.ACTIVATION: LEAST_LEFT, Purpose.PASSWORD_RESET: timedelta(0)}
"""Of a link under an older key: with less left than this it is replaced when it is sent again."""


class LiveLink(NamedTuple):
    """A link that can be used: how often it was sent again, and when it ends."""

    resent: int
    ends_at: datetime


def read_live_links(session: Session, purpose: Purpose, accounts: Collection[UUID]) -> dict[UUID, LiveLink]:
    """The live link of each of these accounts that has one."""
    parameters = {"accounts": array(accounts), "purpose": purpose, "keys": list(signing_keys().key_ids)}
    found = session.execute(READ_LIVE_LINKS, parameters) if accounts else ()
    return {account_id: LiveLink(resent, ends_at) for account_id, resent, ends_at in found}


def resend_links(session: Session, purpose: Purpose, times: Mapping[UUID, int]) -> None:
    """Gives the live link of each of these accounts more time, or a link to who has none; their rows are held.

    Parameters:
      times: how often each is sent its link now: once, unless several jobs of a batch ask for it.
    """
    if not times:
        return
    _void_dead(session, times, LEAST[purpose], purpose)
    parameters: dict[str, Any] = {
        "ids": array(new_id() for _ in times),
        "accounts": array(times),
        "times": array(times.values()),
        "purpose": purpose,
        "newest": signing_keys().newest,
        "lifetime": LINK_LIFETIME[purpose],
        "short_lived": purpose is Purpose.PASSWORD_RESET,
    }
    session.execute(EXTEND_LINKS, parameters)


def offer_links(session: Session, accounts: Collection[UUID], *, known: Collection[UUID]) -> None:
    """A link with enough time for each of these accounts, whose rows this transaction holds and none is activated.

    Parameters:
      known: those of them that existed before and may have a link.
    """
    if known:
        _void_dead(session, known, LEAST_LEFT, Purpose.ACTIVATION)
    _insert(session, accounts, Purpose.ACTIVATION)


def replace_dead_links(session: Session, accounts: Collection[UUID], purpose: Purpose) -> None:
    """A new link for each of these accounts whose link has expired or lost its key, unless it was voided meanwhile."""
    whose = {"accounts": list(accounts), "activated": purpose is Purpose.PASSWORD_RESET}
    waiting = session.execute(LOCK_ACCOUNTS, whose).scalars().all()
    voided = _void_dead(session, waiting, timedelta(0), purpose)
    if voided:
        _insert(session, voided, purpose)


def _void_dead(session: Session, accounts: Collection[UUID], least: timedelta, purpose: Purpose) -> Sequence[UUID]:
    keys = signing_keys()
    parameters: dict[str, Any] = {
        "accounts": array(accounts),
        "purpose": purpose,
        "keys": list(keys.key_ids),
        "newest": keys.newest,
        "least": least,
    }
    return session.execute(VOID_DEAD_LINKS, parameters).scalars().all()


def _insert(session: Session, accounts: Collection[UUID], purpose: Purpose) -> None:
    parameters: dict[str, Any] = {
        "ids": [new_id() for _ in accounts],
        "accounts": sorted(accounts),
        "purpose": purpose,
        "newest": signing_keys().newest,
        "lifetime": LINK_LIFETIME[purpose],
    }
    session.execute(INSERT_LINKS, parameters)
