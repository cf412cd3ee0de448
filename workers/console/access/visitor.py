"""Names the person who asks for a page, and refuses what their role does not allow.

A route says whom it is for by the type of a parameter: ``visitor: Reader``, ``Support``, ``Operator`` or ``Admin``.
"""

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends
from starlette.requests import Request

from models.ops_user import Role
from models.words import LOCALES

LANGUAGE_COOKIE: Final = "ops_lang"

PROXY: Final = "proxy"
"""Stands for the session of a user whom the proxy names."""


@dataclass(frozen=True)
class Visitor:
    """A user who is signed in.

    Parameters:
      session_id: the session, or `proxy` for a user whom the proxy names.
      form_token: the token that each form of this session carries.
    """

    name: str
    role: Role
    session_id: str
    locale: str
    form_token: str = ""

    @property
    def asker(self) -> str:
        """The name as the audit trail has it."""
        return f"ops:{self.name}"

    @property
    def own_session(self) -> UUID | None:
        """The identifier of the session; None for a user whom the proxy names."""
        return None if self.session_id == PROXY else UUID(self.session_id)

    def may(self, role: str) -> bool:
        """Tells whether this user has the rights of a role."""
        return self.role.covers(Role(role))


class SignInNeeded(Exception):
    """A page is for people who are signed in."""


class RoleNeeded(Exception):
    """A page or an action is for users with another role.

    Parameters:
      role: the least role that may.
    """

    def __init__(self, role: Role) -> None:
        super().__init__(role)
        self.role = role


class RoleGuard:
    """Lets requests of users with a role pass; it is the dependency of each route of the console.

    Parameters:
      role: the least role that may.
    """

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Visitor:
        """Returns the user of this request.

        Raises:
          SignInNeeded: no user is signed in.
          RoleNeeded: the user has another role.
        """
        visitor: Visitor | None = await request.app.state.sign_ins.identify(request)
        if visitor is None:
            raise SignInNeeded
        request.state.visitor = visitor
        if not visitor.role.covers(self.role):
            raise RoleNeeded(self.role)
        return visitor


Reader = Annotated[Visitor, Depends(RoleGuard(Role.READER))]
Support = Annotated[Visitor, Depends(RoleGuard(Role.SUPPORT))]
Operator = Annotated[Visitor, Depends(RoleGuard(Role.OPERATOR))]
Admin = Annotated[Visitor, Depends(RoleGuard(Role.ADMIN))]


def locale_of(request: Request) -> str:
    """Returns the language of an answer: the one asked for, else the one chosen before, else the browser's first."""
    asked = request.query_params.get("lang", "")
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    preferred = request.headers.get("accept-language", "")[:2].lower()
    return next((one for one in (asked, chosen, preferred) if one in LOCALES), LOCALES[0])


__all__ = [
    "LANGUAGE_COOKIE",
    "PROXY",
    "Admin",
    "Operator",
    "Reader",
    "Role",
    "RoleGuard",
    "RoleNeeded",
    "SignInNeeded",
    "Support",
    "Visitor",
    "locale_of",
]
