"""Makes and changes the users of the console, and ends their sessions; the audit trail keeps who did it."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, text
from sqlmodel import col, delete, select, update

from models.ops_user import OpsSession, OpsUser, Role, is_user_name
from models.portal import LOCAL_PORTAL_ID
from workers.audit import record
from workers.database import Session
from workers.ops.user_sign_ins import LIVE, name_subject, own_address_subjects
from workers.security.lockouts import forget_failures
from workers.sql import change, fetch

# Lists the users, with how many of their sessions live.
LIST_USERS: Final = text(f"""
    SELECT ou.name, ou.role, ou.password_hash IS NOT NULL AS has_password, ou.created_at, ou.signed_in_at,
      ou.disabled_at, (SELECT count(*) FROM ops_session os WHERE os.name = ou.name AND {LIVE}) AS sessions
    FROM ops_user ou ORDER BY ou.name""")

# Lists the sessions that live, of one user or of all.
LIST_SESSIONS: Final = text(f"""
    SELECT os.id, os.name, os.created_at, os.seen_at FROM ops_session os
    WHERE (CAST(:name AS text) IS NULL OR os.name = CAST(:name AS text)) AND {LIVE}
    ORDER BY os.name, os.created_at DESC LIMIT 500""")


class UserRefusal(StrEnum):
    """The reason why a user is not made or changed."""

    INVALID_NAME = "invalid_name"
    TAKEN = "taken"
    UNKNOWN = "unknown"


class ListedUser(NamedTuple):
    """A user of the console.

    Parameters:
      has_password: without one, a user signs in through the proxy only.
    """

    name: str
    role: str
    has_password: bool
    created_at: datetime
    signed_in_at: datetime | None
    disabled_at: datetime | None
    sessions: int


class ListedSession(NamedTuple):
    """A session that lives."""

    id: UUID
    name: str
    created_at: datetime
    seen_at: datetime


def add_user(
    session: Session, name: str, role: Role, *, password_hash: str | None, requested_by: str
) -> UserRefusal | None:
    """Makes a user.

    Parameters:
      password_hash: from ``hash_password``, computed before the transaction; None for a user of the proxy.
    """
    if not is_user_name(name):
        return UserRefusal.INVALID_NAME
    if session.get(OpsUser, name) is not None:
        return UserRefusal.TAKEN
    session.add(OpsUser(name=name, role=role, password_hash=password_hash))
    forget_failures(session, [name_subject(name)])
    _record(session, "add_ops_user", name, requested_by, role=role)
    return None


def set_role(session: Session, name: str, role: Role, *, requested_by: str) -> UserRefusal | None:
    """Gives a user another role; it holds from the next page on."""
    return _change(session, "change_ops_role", name, {"role": role.value}, requested_by, role=role)


def set_password(session: Session, name: str, password_hash: str, *, requested_by: str) -> UserRefusal | None:
    """Gives a user another password, and ends their sessions and lockouts, also that of the tunnels to this machine."""
    refused = _change(session, "change_ops_password", name, {"password_hash": password_hash}, requested_by)
    if refused is None:
        _delete_sessions(session, name)
        forget_failures(session, [name_subject(name), *own_address_subjects()])
    return refused


def set_disabled(session: Session, name: str, *, disabled: bool, requested_by: str) -> UserRefusal | None:
    """Shuts a user out, and ends their sessions; or lets them in again."""
    action = "disable_ops_user" if disabled else "enable_ops_user"
    refused = _change(session, action, name, {"disabled_at": func.now() if disabled else None}, requested_by)
    if refused is None and disabled:
        _delete_sessions(session, name)
    return refused


def remove_user(session: Session, name: str, *, requested_by: str) -> UserRefusal | None:
    """Deletes a user with their sessions; the audit trail keeps what they did."""
    if not change(session, delete(OpsUser).where(col(OpsUser.name) == name)):
        return UserRefusal.UNKNOWN
    _record(session, "remove_ops_user", name, requested_by)
    return None


def sign_out(session: Session, name: str, *, requested_by: str, session_id: UUID | None = None) -> int:
    """Ends a session of a user, or all of them; returns how many."""
    ended = _delete_sessions(session, name, session_id)
    if ended:
        _record(session, "sign_out_ops", name, requested_by, sessions=ended)
    return ended


def list_users(session: Session) -> list[ListedUser]:
    """Lists the users of the console."""
    return fetch(session, ListedUser, LIST_USERS)


def list_sessions(session: Session, name: str | None) -> list[ListedSession]:
    """Lists the sessions of a user that live, or those of all."""
    return fetch(session, ListedSession, LIST_SESSIONS, {"name": name})


def is_user(session: Session, name: str) -> bool:
    """Tells whether there is such a user."""
    return session.exec(select(OpsUser.name).where(OpsUser.name == name)).one_or_none() is not None


def read_hash(session: Session, name: str) -> str | None:
    """Reads the hash of a user's password; None when there is no such user, or none with a password."""
    return session.exec(select(OpsUser.password_hash).where(OpsUser.name == name)).one_or_none()


def _change(
    session: Session, action: str, name: str, values: dict[str, Any], requested_by: str, **detail: Any
) -> UserRefusal | None:
    if not change(session, update(OpsUser).where(col(OpsUser.name) == name).values(values)):
        return UserRefusal.UNKNOWN
    _record(session, action, name, requested_by, **detail)
    return None


def _delete_sessions(session: Session, name: str, session_id: UUID | None = None) -> int:
    ended = delete(OpsSession).where(col(OpsSession.name) == name)
    return change(session, ended if session_id is None else ended.where(col(OpsSession.id) == session_id))


def _record(session: Session, action: str, name: str, requested_by: str, **detail: Any) -> None:
    kept = {"user": name} | detail
    record(session, action, portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=kept)


__all__ = [
    "ListedSession",
    "ListedUser",
    "UserRefusal",
    "add_user",
    "is_user",
    "list_sessions",
    "list_users",
    "read_hash",
    "remove_user",
    "set_disabled",
    "set_password",
    "set_role",
    "sign_out",
]
