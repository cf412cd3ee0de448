"""The users of the console for operators, their roles, and their sessions.

A user is made by a command of the shell, never by the console itself. Passwords are kept as hashes, and so are the
tokens of sessions: a copy of the tables signs in to nothing.
"""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary
from sqlmodel import Field

from models.base import Record, instant, new_id

IDLE: Final = timedelta(hours=2)
"""A session ends when no page was opened for this long; the refreshing of an open page does not count."""

LASTS: Final = timedelta(hours=12)
"""A session ends this long after the sign-in in any case."""

NOTED_EVERY: Final = timedelta(minutes=1)
"""That a session is in use is written this seldom, so that reading pages writes next to nothing."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class Role(StrEnum):
    """The rights of a user; each role has those of the roles before it."""

    READER = "reader"  # reads every page, with personal data masked
    SUPPORT = "support"  # sees one person's data at a time, sends mails again, lifts suppressions
    OPERATOR = "operator"  # retries, dismisses, cancels, pauses
    ADMIN = "admin"  # sees all users and their sessions, and ends them

    def covers(self, needed: "Role") -> bool:
        """Tells whether this role has the rights of the other."""
        ranked = list(Role)
        return ranked.index(self) >= ranked.index(needed)


class OpsUser(Record, table=True):
    """A user of the console."""

    __tablename__ = "ops_user"
    __table_args__ = (CheckConstraint(f"role IN ({', '.join(repr(role.value) for role in Role)})", name="role"),)

    name: str = Field(primary_key=True)
    role: str  # a word of ``Role``
    password_hash: str | None = None  # None: signs in through the proxy only
    created_at: datetime = instant(default_now=True)
    signed_in_at: datetime | None = instant(nullable=True)
    disabled_at: datetime | None = instant(nullable=True)


class OpsSession(Record, table=True):
    """A session of a user, found by the hash of the token that the browser keeps."""

    __tablename__ = "ops_session"
    __table_args__ = (Index(None, "name"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    token_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    name: str = Field(foreign_key="ops_user.name", ondelete="CASCADE")
    created_at: datetime = instant(default_now=True)
    seen_at: datetime = instant(default_now=True)


def is_user_name(name: str) -> bool:
    """Tells whether this can be the name of a user: up to 63 small letters, digits, dots, underscores and hyphens."""
    return _NAME.fullmatch(name) is not None
