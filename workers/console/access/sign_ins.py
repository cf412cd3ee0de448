"""Finds the user of a request: by the session in its cookie, or by the name that a trusted proxy sends."""

import hashlib
import hmac
import time
from typing import Final

from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from models.ops_user import LASTS, Role
from workers.access.hashing import HASHES_AT_ONCE
from workers.console.access.visitor import PROXY, Visitor, locale_of
from workers.database import autocommit, is_transient, transaction
from workers.ops.user_sign_ins import SessionUser, find_proxy_user, find_session, hash_token, note_session
from workers.settings import get_settings

USER_HEADER: Final = "x-ops-user"
SECRET_HEADER: Final = "x-ops-proxy-secret"  # noqa: S105 - the name of a header
LIVE_HEADER: Final = "x-live"
"""The script that refreshes a page sends this header: such a request does not keep a session alive."""

REMEMBERED_SECONDS: Final = 600.0
MOST_REMEMBERED: Final = 200


class SignIns:
    """Finds users, and remembers those of the last minutes for the time when the database does not answer.

    Then they read as a reader does: what the console shows is that the database is away.
    """

    def __init__(self) -> None:
        self.hashing = CapacityLimiter(HASHES_AT_ONCE)
        self._remembered: dict[bytes, tuple[SessionUser, float]] = {}

    async def identify(self, request: Request) -> Visitor | None:
        """Returns the user of a request; None when it has no session that lives."""
        secret = get_settings().ops_proxy_secret
        if secret and SECRET_HEADER in request.headers:
            return await run_in_threadpool(_from_proxy, request, secret)
        token = request.cookies.get(cookie_name(request), "")
        return await run_in_threadpool(self._from_cookie, request, token) if token else None

    def forget(self, token: str) -> None:
        """Forgets a session that was ended."""
        self._remembered.pop(hash_token(token), None)

    def _from_cookie(self, request: Request, token: str) -> Visitor | None:
        found = self._find(token)
        if found is None:
            return None
        if found.to_note and LIVE_HEADER not in request.headers:
            with transaction() as session:
                note_session(session, found.id)
        form_token = _form_token(token.encode("utf-8", "replace"), str(found.id))
        return Visitor(found.name, Role(found.role), str(found.id), locale_of(request), form_token)

    def _find(self, token: str) -> SessionUser | None:
        key = hash_token(token)
        try:
            with autocommit() as session:
                found = find_session(session, token)
        except Exception as error:
            user, until = self._remembered.get(key, (None, 0.0))
            if not is_transient(error) or user is None or until < time.monotonic():
                raise
            return user._replace(role=Role.READER, to_note=False)
        self._remember(key, found)
        return found

    def _remember(self, key: bytes, found: SessionUser | None) -> None:
        self._remembered.pop(key, None)
        if found is not None:
            self._remembered[key] = (found, time.monotonic() + REMEMBERED_SECONDS)
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)), None)


def _from_proxy(request: Request, secret: str) -> Visitor | None:
    """Finds the user whom the proxy names; a header that came twice is one that a client has added."""
    secrets, names = request.headers.getlist(SECRET_HEADER), request.headers.getlist(USER_HEADER)
    if len(secrets) != 1 or len(names) != 1:
        return None
    if not hmac.compare_digest(secrets[0].encode("latin-1", "replace"), secret.encode()):
        return None
    with transaction() as session:
        found = find_proxy_user(session, names[0])
    if found is None:
        return None
    form_token = _form_token(secret.encode(), f"{PROXY}:{found.name}")
    return Visitor(found.name, Role(found.role), PROXY, locale_of(request), form_token)


def _form_token(key: bytes, session_id: str) -> str:
    return hmac.new(key, f"form of {session_id}".encode(), hashlib.sha256).hexdigest()


def cookie_name(request: Request) -> str:
    """Returns the name of the cookie; over https no other host, path or plain connection can set one of that name."""
    return "__Host-ops" if request.url.scheme == "https" else "ops"


def give_cookie(request: Request, answer: Response, token: str) -> None:
    """Gives the browser the token of its session."""
    answer.set_cookie(
        cookie_name(request),
        token,
        max_age=int(LASTS.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def take_cookie(request: Request, answer: Response) -> None:
    """Takes the token from the browser."""
    secure = request.url.scheme == "https"
    answer.delete_cookie(cookie_name(request), path="/", secure=secure, httponly=True, samesite="strict")


__all__ = ["LIVE_HEADER", "SignIns", "cookie_name", "give_cookie", "take_cookie"]
