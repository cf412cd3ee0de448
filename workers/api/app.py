"""The ASGI application of the API: what is the same for every call.

In this order: the address, the key, its scope, the rate of its portal, the query parameters; only then is a byte of the
body read. Every answer has a request id, and every fault is a problem document.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import uuid4

from anyio import move_on_after, to_thread
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from models.portal_key import read_key_id
from models.rate_limit import rate_limit_fields
from models.words import Code
from workers.api.calls import Call, Services, read_query
from workers.api.operation import Operation
from workers.api.problems import ApiProblem, invalid, key_required, unavailable
from workers.api.router import Router
from workers.database import is_transient
from workers.errors import IdempotencyConflict, InvalidRequest, NotConfigured, Transient, cannot_read
from workers.logs import get_logger
from workers.portals.keys import HTTP_KEYS, KnownKey
from workers.portals.limits import LIMITS
from workers.portals.use import USE

PREFIX: Final = "/v1"

MOST_AT_ONCE: Final = 1_000
"""The most calls that are being answered at once; more are told to try again."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer that does not set them itself."""

LIMIT_FIELDS: Final = "matricule.limit"
"""The place of the fields of the rate limit among what the server knows of a call."""

LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 1024 * 1024
"""The time and the bytes for which the rest of a body is taken and dropped, after its call was refused without it."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = get_logger("api")


class Api:
    """The application.

    Parameters:
      operations: the table of what it answers.
      is_stopping: tells whether this process stops.
    """

    def __init__(self, operations: Sequence[Operation], is_stopping: Callable[[], bool] = lambda: False) -> None:
        self.operations = operations
        self.is_stopping = is_stopping
        self.services = Services(tuple(operations), lambda: self.is_stopping())  # noqa: PLW0108 - the server is set later
        self._router = Router(operations)
        self._compressed = GZipMiddleware(self._answer_found, minimum_size=1_000, compresslevel=5)
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call; it raises nothing to the server."""
        http = HttpRequest(scope, receive)
        request_id = _request_id(http)
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.update(scope.get(LIMIT_FIELDS, {}))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        self._active += 1
        problem = None
        try:
            await self._answer(http, request_id, receive, send_with_headers)
        except ClientDisconnect:
            log.info("client.left", request=request_id)
        except Exception as error:  # noqa: BLE001 - the outermost edge: a traceback is no answer
            problem = as_problem(error, request_id)
        finally:
            self._active -= 1
        if problem is not None and not begun:
            answer = problem.answer(request_id)
            await (send_and_linger if problem.hangs_up else send_now)(answer, http, send_with_headers)

    async def _answer(self, http: HttpRequest, request_id: str, receive: Receive, send: Send) -> None:
        call = await self._received(http, request_id)
        http.scope["matricule.call"] = call
        answer = self._compressed if call.operation.compressed else self._answer_found
        await answer(http.scope, receive, send)

    async def _answer_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call = scope["matricule.call"]
        begun = time.monotonic()
        response: Response = await call.operation.handler(call)
        await response(scope, receive, send)
        log.info(
            "call.answered",
            operation=call.operation.name,
            status=response.status_code,
            portal=call.known_key.portal if call.known_key else None,
            key=call.known_key.key_id if call.known_key else None,
            milliseconds=round(1000 * (time.monotonic() - begun)),
            request=call.request_id,
        )

    async def _received(self, http: HttpRequest, request_id: str) -> Call:
        """Finds what is asked for, and checks whether this caller may; reads nothing of the body."""
        raw_path = http.scope.get("raw_path") or http.scope["path"].encode()
        match = self._router.find(http.method, raw_path.decode("latin-1").removeprefix(PREFIX))
        if match is None:
            raise ApiProblem(Code.NOT_FOUND, hang_up=_has_body(http))
        if match.operation is None:
            raise ApiProblem(
                Code.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(match.methods)}, hang_up=_has_body(http)
            )
        operation = match.operation
        known = await self._known_key(http) if operation.scope is not None else None
        if self._active > MOST_AT_ONCE:
            raise unavailable()
        if known is not None and not any(map(known.may, operation.scopes)):
            raise ApiProblem(Code.INSUFFICIENT_SCOPE, f"it needs the scope {operation.scope}", hang_up=_has_body(http))
        if known is not None:
            _count(http, known)
        if operation.keyed and operation.method == "POST" and "idempotency-key" not in http.headers:
            raise key_required()
        query = read_query(operation.query, http)
        return Call(http, operation, self.services, known, match.path, query, request_id)

    async def _known_key(self, http: HttpRequest) -> KnownKey:
        """Finds the key of a call.

        Raises: ApiProblem with `unauthorized`.
        """
        sent = http.headers.getlist("authorization")
        scheme, _, key = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        key = key.strip()
        if scheme.lower() != "bearer" or read_key_id(key) is None:
            raise _unauthorized(http)
        remembered, known = HTTP_KEYS.peek(key)
        if not remembered:
            known = await to_thread.run_sync(HTTP_KEYS.get, key, limiter=self.services.readers)
        if known is None:
            raise _unauthorized(http)
        return known


def _count(http: HttpRequest, known: KnownKey) -> None:
    """Counts a call against the limit of its portal.

    Raises: ApiProblem with `rate_limited`.
    """
    USE.note(known.key_id)
    allowance = LIMITS.check(known)
    http.scope[LIMIT_FIELDS] = rate_limit_fields(allowance)
    if not allowance.allowed:
        headers = {"Retry-After": str(allowance.retry_after)}
        raise ApiProblem(Code.RATE_LIMITED, headers=headers, hang_up=_has_body(http))


async def send_now(answer: Response, http: HttpRequest, send: Send) -> None:
    """Sends an answer."""
    await answer(http.scope, http.receive, send)


async def send_and_linger(answer: Response, http: HttpRequest, send: Send) -> None:
    """Sends an answer at once, then takes what the client still sends, for a moment, before the connection is closed.

    Closed with unread bytes, the connection would be reset, and the client might never read the answer (RFC 9112, 9.6).
    """

    async def send_without_end(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await answer(http.scope, http.receive, send_without_end)
    left = LINGER_BYTES
    with move_on_after(LINGER_SECONDS):
        while left > 0:
            message = await http.receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                break
    await send({"type": "http.response.body", "body": b""})


def as_problem(error: Exception, request_id: str) -> ApiProblem:
    """Returns the problem that an error is answered with, and logs what was not foreseen."""
    if isinstance(error, ApiProblem):
        if error.code is not Code.NOT_FOUND:
            log.info("call.refused", code=error.code, request=request_id)
        return error
    if isinstance(error, IdempotencyConflict):
        return ApiProblem(Code.IDEMPOTENCY_CONFLICT, error.problems[0].detail)
    if isinstance(error, InvalidRequest):
        return invalid(error)
    later = isinstance(error, Transient | NotConfigured) or is_transient(error) or cannot_read(error)
    log.error("call.failed", status=503 if later else 500, request=request_id, exc_info=error)
    return unavailable() if later else ApiProblem(Code.INTERNAL_ERROR)


def _unauthorized(http: HttpRequest) -> ApiProblem:
    """Makes the answer to a missing or wrong key (RFC 6750, section 3)."""
    return ApiProblem(
        Code.UNAUTHORIZED, headers={"WWW-Authenticate": 'Bearer realm="matricule"'}, hang_up=_has_body(http)
    )


def _has_body(http: HttpRequest) -> bool:
    """Tells whether a body follows, which is not read: the connection can then carry no further call."""
    return "transfer-encoding" in http.headers or http.headers.get("content-length", "0") != "0"


def _request_id(http: HttpRequest) -> str:
    sent = http.headers.get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid4().hex
