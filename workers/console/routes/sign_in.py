"""Signing in to the console and out of it, and the sessions of a user."""

import re
from datetime import datetime
from functools import partial
from typing import Final

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.ops_user import Role
from workers.access.hashing import free_place
from workers.console.access.forms import posted, read_form
from workers.console.access.sign_ins import SignIns, cookie_name, give_cookie, take_cookie
from workers.console.access.visitor import Reader, RoleNeeded, Visitor
from workers.console.view import in_transaction, page
from workers.database import Session
from workers.ops.user_sign_ins import UserAttempt, begin_sign_in, end_sign_in, has_users, is_right
from workers.ops.users import ListedSession, ListedUser, list_sessions, list_users, sign_out

SIGN_IN: Final = "/ops/sign-in"

_OWN_PAGE: Final = re.compile(r"/ops(?:[/?][!-\[\]-~]*)?")
"""A page of the console: no other host, no backslash, no space."""

router = APIRouter()


@router.api_route(SIGN_IN, methods=["GET", "HEAD"], response_model=None)
async def show_sign_in(request: Request) -> Response:
    """Shows the form to sign in; until the first user is made, says how to make one."""
    if not await in_transaction(has_users):
        return await page(request, None, "closed.html")
    return await _form(request)


@router.post(SIGN_IN, response_model=None)
async def sign_user_in(request: Request) -> Response:
    """Begins a session, or refuses without saying whether there is such a user."""
    data = await read_form(request)
    name, password = (str(data.get(field, "")) for field in ("name", "password"))
    typed = {"name": name, "following": own_page(str(data.get("next", "")))}
    address = request.client.host if request.client else ""
    sign_ins: SignIns = request.app.state.sign_ins
    place = free_place(sign_ins.hashing)
    if place is None:
        return await _form(request, status=503, refused="busy", **typed)
    attempt = await in_transaction(begin_sign_in, name.strip(), address)
    if isinstance(attempt, datetime):
        return await _form(request, status=429, refused="locked", until=attempt, **typed)
    right = await to_thread.run_sync(is_right, attempt, password, limiter=place)
    token = await in_transaction(partial(_end, attempt, right))
    if token is None:
        return await _form(request, status=401, refused="wrong", **typed)
    answer = RedirectResponse(typed["following"], 303)
    give_cookie(request, answer, token)
    return answer


def _end(attempt: UserAttempt, right: bool, session: Session) -> str | None:
    return end_sign_in(session, attempt, right=right)


@router.post("/ops/sign-out", response_model=None)
async def sign_user_out(request: Request, visitor: Reader) -> Response:
    """Ends the session of this browser."""
    await posted(request)
    await in_transaction(_end_own, visitor)
    return _signed_out(request)


@router.api_route("/ops/sessions", methods=["GET", "HEAD"], response_model=None)
async def show_sessions(request: Request, visitor: Reader) -> Response:
    """Shows the sessions of a user; to an admin all users and their sessions."""
    sessions, users = await in_transaction(_read_sessions, visitor)
    return await page(request, visitor, "sessions.html", sessions=sessions, users=users)


@router.post("/ops/sessions/end", response_model=None)
async def end_sessions(request: Request, visitor: Reader) -> Response:
    """Ends all sessions of the user; an admin may end those of another.

    Raises: RoleNeeded.
    """
    data = await posted(request)
    name = str(data.get("user", "")) or visitor.name
    if name != visitor.name and not visitor.role.covers(Role.ADMIN):
        raise RoleNeeded(Role.ADMIN)
    await in_transaction(sign_out, name, requested_by=visitor.asker)
    if name == visitor.name:
        return _signed_out(request)
    return RedirectResponse("/ops/sessions", 303)


def own_page(asked: str) -> str:
    """Returns the page of the console that was asked for before the sign-in, or the first one."""
    return asked if _OWN_PAGE.fullmatch(asked) and "//" not in asked.partition("?")[0] else "/ops"


async def _form(request: Request, *, status: int = 200, **values: object) -> Response:
    following = own_page(request.query_params.get("next", ""))
    shown: dict[str, object] = {"refused": "", "name": "", "until": None, "following": following, "path": SIGN_IN}
    return await page(request, None, "sign_in.html", status=status, **shown | values)


def _signed_out(request: Request) -> Response:
    answer = RedirectResponse(SIGN_IN, 303)
    sign_ins: SignIns = request.app.state.sign_ins
    sign_ins.forget(request.cookies.get(cookie_name(request), ""))
    take_cookie(request, answer)
    return answer


def _end_own(session: Session, visitor: Visitor) -> int:
    return sign_out(session, visitor.name, requested_by=visitor.asker, session_id=visitor.own_session)


def _read_sessions(session: Session, visitor: Visitor) -> tuple[list[ListedSession], list[ListedUser]]:
    sees_all = visitor.role.covers(Role.ADMIN)
    sessions = list_sessions(session, None if sees_all else visitor.name)
    return sessions, list_users(session) if sees_all else []
