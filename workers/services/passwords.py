"""The link "choose a password": what it answers, and the one transaction in which it is used up."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import TextClause, text

from models.link import link_refused
from models.passwords import compose_password
from models.words import Code, Purpose
from workers.database import Session
from workers.services.audit import record
from workers.services.lockouts import forget_failures, subjects_of
from workers.tokens import SigningKeys, check_token, read_token

HASHER: Final = PasswordHash((Argon2Hasher(),))
"""Argon2id with the parameters of RFC 9106, section 4, second choice: 64 MiB and about a tenth of a second each."""

FOUND = """
    SELECT l.id, l.purpose, l.account_id, l.key_id, l.version, l.expires_at, l.consumed_at, l.voided_at, now() AS now,
      a.email_norm, a.first_name, a.last_name, a.locale
    FROM link l JOIN account a ON a.id = l.account_id WHERE l.id = :id"""

FIND = text(FOUND)
FIND_AND_LOCK = text(f"{FOUND} FOR UPDATE OF l")

# The whole row, against the key-share lock under which an enrollment decides that this account needs an activation
# link: it either commits before us and its link is voided here, or waits and sees an activated account.
LOCK_ACCOUNT = text("SELECT id FROM account WHERE id = :id FOR UPDATE")

SET_PASSWORD = text("""
    UPDATE account SET password_hash = :password_hash, activated_at = coalesce(activated_at, now()),
      credential_version = credential_version + 1
    WHERE id = :id""")

USE_UP_LINKS = text("""
    UPDATE link SET consumed_at = CASE WHEN id = :link_id THEN now() END,
      voided_at = CASE WHEN id <> :link_id THEN now() END
    WHERE account_id = :account_id AND consumed_at IS NULL AND voided_at IS NULL""")


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link that may be used, and whose it is: what the page shows."""

    link_id: UUID
    purpose: Purpose
    account_id: UUID
    email: str
    first_name: str
    last_name: str
    locale: str


def hash_password(password: str) -> str:
    """The argon2id hash of a password that was checked. Slow on purpose: never inside a transaction."""
    return HASHER.hash(compose_password(password))


def look_at_link(session: Session, keys: SigningKeys, token: str) -> LinkView | Code:
    """Whose link this is, or why it cannot be used. Changes nothing: mail scanners open links too.

    A token that is unknown, tampered with, signed for another purpose or with a withdrawn key, and a link that was
    voided, all answer ``INVALID_LINK``; ``USED_LINK`` and ``EXPIRED_LINK`` are only told to who holds the true token.
    """
    return _find(session, FIND, keys, token)


def read_link_use(session: Session, keys: SigningKeys, token: str) -> tuple[str, Purpose] | None:
    """The account's language and what the link was for, told to who holds the true token even when the link is over."""
    row = _read(session, FIND, keys, token)
    return None if row is None else (str(row.locale), Purpose(row.purpose))


def choose_password(session: Session, keys: SigningKeys, token: str, password_hash: str) -> LinkView | Code:
    """Gives the account its password and uses the link up; the account is activated if it never was.

    Everything else that could set a password ends here: the account's other links are voided, its sessions end
    (``credential_version``). Of two at the same moment one does it and the other, which waited for the account's lock,
    reads the link again and answers ``USED_LINK``. Invitations not yet sent stay owed, for the link may have come by
    another mail: they are sent without a link and tell of their training (``workers/services/letters.py``).

    Parameters:
      password_hash: from ``hash_password``, computed before the transaction.

    Returns:
      Whose password was set, or why nothing was changed (as ``look_at_link``).
    """
    claimed = _find(session, FIND, keys, token)
    if isinstance(claimed, Code):
        return claimed
    session.execute(LOCK_ACCOUNT, {"id": claimed.account_id})
    view = _find(session, FIND_AND_LOCK, keys, token)
    if isinstance(view, Code):
        return view
    session.execute(SET_PASSWORD, {"id": view.account_id, "password_hash": password_hash})
    ids = {"account_id": view.account_id, "link_id": view.link_id}
    forget_failures(session, subjects_of(view.email, view.account_id))
    links: Any = session.execute(USE_UP_LINKS, ids)
    detail = {"purpose": view.purpose, "links_voided": links.rowcount - 1}
    record(session, "choose_password", account_id=view.account_id, subject_id=view.link_id, detail=detail)
    return view


def _find(session: Session, statement: TextClause, keys: SigningKeys, token: str) -> LinkView | Code:
    row = _read(session, statement, keys, token)
    if row is None:
        return Code.INVALID_LINK
    refused = link_refused(consumed_at=row.consumed_at, voided_at=row.voided_at, expires_at=row.expires_at, now=row.now)
    if refused is not None:
        return refused
    return LinkView(
        row.id, Purpose(row.purpose), row.account_id, row.email_norm, row.first_name, row.last_name, row.locale
    )


def _read(session: Session, statement: TextClause, keys: SigningKeys, token: str) -> Any:
    """The row of the link, if this is its token; else None."""
    link_id = read_token(token)
    row = None if link_id is None else session.execute(statement, {"id": link_id}).one_or_none()
    return row if row is not None and _signed(keys, token, row) else None


def _signed(keys: SigningKeys, token: str, row: Any) -> bool:
    return check_token(
        keys,
        token,
        key_id=row.key_id,
        link_id=row.id,
        purpose=Purpose(row.purpose),
        version=row.version,
        account_id=row.account_id,
    )
