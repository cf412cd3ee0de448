"""Signs users of the console in and out: the same answer in the same time whether or not there is such a user.

Three steps, because hashing is slow and must be in no transaction: ``begin_sign_in`` counts the try as failed before it
is known, ``is_right`` hashes, ``end_sign_in`` takes the count back and makes the session.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, text
from sqlmodel import col, select, update

from models.base import new_id
from models.ops_user import IDLE, LASTS, NOTED_EVERY, OpsSession, OpsUser, is_user_name
from models.password import MAX_PASSWORD, compose_password
from models.portal import LOCAL_PORTAL_ID
from workers.access.passwords import HASHER, hash_password
from workers.audit import record
from workers.database import Session
from workers.security.lockouts import count_failure, forget_failures
from workers.sql import change, fetch_one, fetch_value

LIVE: Final = f"""os.created_at > now() - interval '{LASTS.total_seconds():.0f} seconds'
      AND os.seen_at > now() - interval '{IDLE.total_seconds():.0f} seconds'"""
"""The SQL condition of a session ``os`` that has not ended by itself."""

# Finds the user of a session that lives, and whether it is time to note that it is in use.
FIND_SESSION: Final = text(f"""
    SELECT os.id, ou.name, ou.role,
      os.seen_at < now() - interval '{NOTED_EVERY.total_seconds():.0f} seconds' AS to_note
    FROM ops_session os JOIN ops_user ou ON ou.name = os.name
    WHERE os.token_hash = :token_hash AND ou.disabled_at IS NULL AND {LIVE}""")

# Notes that a session is in use.
NOTE_SESSION: Final = text("UPDATE ops_session SET seen_at = now() WHERE id = :id")

# Locks the user who signs in, if the password that was checked is still theirs.
LOCK_USER: Final = text("""
    SELECT ou.name FROM ops_user ou
    WHERE ou.name = :name AND ou.password_hash = :password_hash AND ou.disabled_at IS NULL FOR NO KEY UPDATE""")

# Notes a sign-in through the proxy, which has no session: once for as long as a session would last.
NOTE_PROXY_SIGN_IN: Final = text(f"""
    UPDATE ops_user SET signed_in_at = now() WHERE name = :name AND disabled_at IS NULL
      AND (signed_in_at IS NULL OR signed_in_at < now() - interval '{LASTS.total_seconds():.0f} seconds')""")

# Tells whether the console has a user.
FIND_ANY_USER: Final = text("SELECT EXISTS (SELECT FROM ops_user)")


class UserAttempt(NamedTuple):
    """A try that may go on; `name` is None for a user that is not there, or cannot sign in by a password."""

    subjects: Sequence[UUID]
    name: str | None
    password_hash: str


class SessionUser(NamedTuple):
    """The user of a session.

    Parameters:
      to_note: it was last noted long enough ago that the session is in use.
    """

    id: UUID
    name: str
    role: str
    to_note: bool


class ProxyUser(NamedTuple):
    """A user whom the proxy names."""

    name: str
    role: str


def has_users(session: Session) -> bool:
    """Tells whether the console has a user: until then it is closed."""
    return bool(fetch_value(session, bool, FIND_ANY_USER))


def begin_sign_in(session: Session, name: str, address: str) -> UserAttempt | datetime:
    """Counts a try against the name, known or not, and the address; returns the end of a lockout when there is one.

    Parameters:
      address: of the browser, as the server knows it.
    """
    subjects = tuple(sorted((name_subject(name), _subject("address", address))))
    locked_until = count_failure(session, subjects)
    if locked_until is not None:
        return locked_until
    named = select(OpsUser.password_hash).where(OpsUser.name == name, col(OpsUser.disabled_at).is_(None))
    found = session.exec(named).one_or_none() if is_user_name(name) else None
    return UserAttempt(subjects, name if found else None, found or _hash_of_no_password())


def is_right(attempt: UserAttempt, password: str) -> bool:
    """Tells whether this is the password; it takes a tenth of a second on purpose. Never call it in a transaction."""
    if len(password) > 4 * MAX_PASSWORD or any("\ud800" <= letter <= "\udfff" for letter in password):
        password = ""  # no user has it
    right = HASHER.verify(compose_password(password), attempt.password_hash)
    return right and attempt.name is not None


def end_sign_in(session: Session, attempt: UserAttempt, *, right: bool) -> str | None:
    """Begins a session after a right try; returns its token, which is kept nowhere else, or None."""
    asked = {"name": attempt.name, "password_hash": attempt.password_hash}
    if not right or attempt.name is None or fetch_value(session, str, LOCK_USER, asked) is None:
        detail = {"user": attempt.name or "unknown"}
        record(session, "refuse_ops_sign_in", portal_id=LOCAL_PORTAL_ID, result="refused", detail=detail)
        return None
    forget_failures(session, attempt.subjects)
    token = secrets.token_urlsafe(32)
    session.add(OpsSession(id=new_id(), token_hash=hash_token(token), name=attempt.name))
    change(session, update(OpsUser).where(col(OpsUser.name) == attempt.name).values(signed_in_at=func.now()))
    record(session, "sign_in_ops", portal_id=LOCAL_PORTAL_ID, requested_by=f"ops:{attempt.name}")
    return token


def find_session(session: Session, token: str) -> SessionUser | None:
    """Finds the user of a session that lives."""
    return fetch_one(session, SessionUser, FIND_SESSION, {"token_hash": hash_token(token)})


def note_session(session: Session, session_id: UUID) -> None:
    """Notes that a session is in use, so that it does not end yet."""
    change(session, NOTE_SESSION, {"id": session_id})


def find_proxy_user(session: Session, name: str) -> ProxyUser | None:
    """Finds a user whom the proxy names, and notes the sign-in."""
    named = select(OpsUser.name, OpsUser.role).where(OpsUser.name == name, col(OpsUser.disabled_at).is_(None))
    found = session.exec(named).one_or_none() if is_user_name(name) else None
    if found is None:
        return None
    if change(session, NOTE_PROXY_SIGN_IN, {"name": name}):
        detail = {"by": "proxy"}
        record(session, "sign_in_ops", portal_id=LOCAL_PORTAL_ID, requested_by=f"ops:{name}", detail=detail)
    return ProxyUser(*found)


def name_subject(name: str) -> UUID:
    """Returns the subject against which wrong passwords for this name are counted."""
    return _subject("name", name[:200])


def own_address_subjects() -> list[UUID]:
    """Returns the subjects of the addresses of this machine, from which all come who use a tunnel to it."""
    return [_subject("address", address) for address in ("127.0.0.1", "::1")]


def hash_token(token: str) -> bytes:
    """Returns the hash of a token; the token has enough bits that it needs no slow one."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _subject(of: str, value: str) -> UUID:
    given = f"{of}:{value}".encode("utf-8", "replace")
    return UUID(bytes=hashlib.blake2b(given, digest_size=16, person=b"matricule ops").digest())


@lru_cache(maxsize=1)
def _hash_of_no_password() -> str:
    """Returns a hash that takes as long to check as any other, and that no password has."""
    return hash_password(secrets.token_hex(32))


__all__ = [
    "LIVE",
    "ProxyUser",
    "SessionUser",
    "UserAttempt",
    "begin_sign_in",
    "end_sign_in",
    "find_proxy_user",
    "find_session",
    "has_users",
    "is_right",
    "name_subject",
    "note_session",
    "own_address_subjects",
]
