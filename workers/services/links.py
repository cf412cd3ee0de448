"""The activation link of an account: one that lives, and another before it becomes a dead end.

A link ends by time, or when the key it was signed with is withdrawn; then whoever owes its mail replaces it. A link
that was used or voided on purpose (the account was activated, its address corrected) is no link any more: nothing here
brings it back.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.link import LEAST_LEFT, LIFETIME
from models.words import Purpose
from workers.database import Session
from workers.services.keys import signing_keys

# Against the whole-row lock under which an account is activated or its address corrected: either that is seen here, or
# it waits and voids the link made here. In the order of the address, like every other lock on accounts.
HOLD_WAITING = text("""
    SELECT id FROM account WHERE id = ANY(CAST(:accounts AS uuid[])) AND activated_at IS NULL
    ORDER BY email_norm FOR KEY SHARE""")

# In the order of the account, as INSERT: two transactions meeting on the same people would deadlock. A link of an older
# key gets no more time (the key is kept 31 days), so it is replaced when too little is left.
VOID_DEAD = text("""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE account_id = ANY(CAST(:accounts AS uuid[])) AND purpose = :purpose
        AND consumed_at IS NULL AND voided_at IS NULL
        AND (expires_at <= now() OR NOT key_id = ANY(CAST(:keys AS text[]))
          OR (key_id <> :newest AND expires_at < now() + :least))
      ORDER BY account_id FOR NO KEY UPDATE) dead
    WHERE link.id = dead.id RETURNING link.account_id""")

# One live link per account: somebody enrolled twice before activating gets the same link, and more time; not past the
# 31 days an older key is kept.
INSERT = text("""
    INSERT INTO link (id, purpose, account_id, key_id, expires_at)
    SELECT t.id, :purpose, t.account_id, :newest, now() + :lifetime
    FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[])) t (id, account_id) ORDER BY t.account_id
    ON CONFLICT (account_id, purpose) WHERE consumed_at IS NULL AND voided_at IS NULL
    DO UPDATE SET expires_at = greatest(link.expires_at, excluded.expires_at)
    WHERE link.key_id = excluded.key_id""")


def offer_links(session: Session, accounts: Collection[UUID], *, known: Collection[UUID]) -> None:
    """A link with enough time for each of these accounts, whose rows this transaction holds and none is activated.

    Parameters:
      known: those of them that existed before and may have a link.
    """
    if known:
        _void_dead(session, known, LEAST_LEFT)
    _insert(session, accounts)


def replace_dead_links(session: Session, accounts: Collection[UUID]) -> None:
    """A new link for each of these accounts whose link has expired or lost its key, unless it was voided meanwhile."""
    waiting = session.execute(HOLD_WAITING, {"accounts": list(accounts)}).scalars().all()
    voided = _void_dead(session, waiting, timedelta(0))
    if voided:
        _insert(session, voided)


def _void_dead(session: Session, accounts: Collection[UUID], least: timedelta) -> Sequence[UUID]:
    keys = signing_keys()
    parameters: dict[str, Any] = {
        "accounts": sorted(accounts),
        "purpose": Purpose.ACTIVATION,
        "keys": list(keys.key_ids),
        "newest": keys.newest,
        "least": least,
    }
    return session.execute(VOID_DEAD, parameters).scalars().all()


def _insert(session: Session, accounts: Collection[UUID]) -> None:
    parameters: dict[str, Any] = {
        "ids": [new_id() for _ in accounts],
        "accounts": sorted(accounts),
        "purpose": Purpose.ACTIVATION,
        "newest": signing_keys().newest,
        "lifetime": LIFETIME[Purpose.ACTIVATION],
    }
    session.execute(INSERT, parameters)
