"""The door over HTTP: one call with its repeats, and what was answered as a result or an error."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from models.portal_key import read_key_id
from models.words import Code
from workers.errors import InvalidRequest, Problem
from workers.portal_client.addresses import ADDRESSES
from workers.portal_client.errors import (
    CLASSES,
    FieldFault,
    NotAccepted,
    PortalError,
    Unanswered,
    Unavailable,
    UnreadableAnswer,
)
from workers.portal_client.messages import request_json
from workers.portal_client.repeating import repeat
from workers.portal_client.results import Job
from workers.requests.base import Request, check_key

MOST_BYTES: Final = 32 * 1024 * 1024
"""The most bytes of an answer that is no file; the largest honest one is far smaller."""

AGENT: Final = "matricule-portal-client"

AnswerType = TypeVar("AnswerType", bound=BaseModel)


class HttpAnswer(NamedTuple):
    """An answer that was read whole."""

    status: int
    headers: httpx2.Headers
    content: bytes


class HttpDoor:
    """Calls ``/v1`` with the key of a portal.

    The key goes to this address and nowhere else: a redirection is an error, and the environment variables for proxies
    are not followed.

    Parameters:
      url: the address of ``/v1``.
      key: of the portal, `mtr_…`.
      timeout: the time limit of each step of a call, and of reading an answer.
      patience: seconds within which a call is repeated.
      proxy: the address of a proxy to use.

    Raises: ValueError when the address or the key cannot be one; its text quotes neither.
    """

    def __init__(self, url: str, key: str, *, timeout: float, patience: float, proxy: str | None = None) -> None:
        try:
            base = httpx2.URL(url.rstrip("/"))
        except httpx2.InvalidURL:
            base = httpx2.URL("")
        if base.scheme not in ("http", "https") or not base.host or base.userinfo or base.query:
            raise ValueError("the URL of a portal is http(s)://host/v1, without user, password and query")
        if read_key_id(key) is None:
            raise ValueError("no key of a portal: mtr_… as `matricule portal create` showed it, whole")
        self.patience = patience
        self._timeout = timeout
        headers = {"Authorization": f"Bearer {key}", "User-Agent": AGENT, "Accept": "application/json"}
        self._client = httpx2.Client(
            base_url=base, headers=headers, timeout=timeout, trust_env=False, follow_redirects=False, proxy=proxy
        )

    def submit(self, request: Request, key: str) -> Job:
        """Sends a request until it is answered; returns its job."""
        address = ADDRESSES.get(type(request))
        if address is None:
            raise TypeError(f"{request.kind} is not sent over HTTP")
        content = request_json(request, without=address.given).encode()
        return self.job_of(lambda: self.call(address.method, address.of(request), content=content, key=key))

    def job_of(self, call: Callable[[], HttpAnswer], patience: float | None = None) -> Job:
        """Repeats a call that makes a job, and reads the job.

        Parameters:
          patience: seconds within which it is repeated, when they are other than for other calls.
        """
        answer = repeat(call, self.patience if patience is None else patience)
        job = read(Job, answer)
        return job.model_copy(update={"repeated": answer.headers.get("idempotency-replayed") == "true"})

    def ask(self, shape: type[AnswerType], path: str, query: Mapping[str, Any] | None = None) -> AnswerType:
        """Reads what is at an address."""
        return read(shape, repeat(lambda: self.call("GET", path, query=query), self.patience))

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: bytes | Iterator[bytes] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Makes one call.

        Raises: PortalError for everything but an answer with a status from 200 to 299.
        """
        with self.opened(method, path, query=query, content=content, key=key, headers=headers) as answer:
            return HttpAnswer(answer.status_code, answer.headers, self._read(answer))

    @contextmanager
    def opened(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: bytes | Iterator[bytes] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpx2.Response]:
        """Makes one call, and gives its answer to be read.

        Raises: as ``call`` does, also while the answer is being read.
        """
        sent = dict(headers or {})
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        if key is not None:
            sent["Idempotency-Key"] = header_key(key)
        params = {name: _query_text(value) for name, value in (query or {}).items() if value is not None}
        try:
            with self._client.stream(method, path, params=params, content=content, headers=sent) as answer:
                if not answer.is_success:
                    raise self._problem(answer)
                yield answer
        except httpx2.DecodingError:
            raise UnreadableAnswer("unreadable_answer", "its compression is broken") from None
        except httpx2.HTTPError as error:
            raise Unanswered(type(error).__name__) from error

    def _read(self, answer: httpx2.Response) -> bytes:
        """Reads an answer, but neither for ever nor without end."""
        content, until = bytearray(), time.monotonic() + self._timeout
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > MOST_BYTES:
                raise UnreadableAnswer("unreadable_answer", f"over {MOST_BYTES} bytes", status=answer.status_code)
            if time.monotonic() > until:
                raise Unanswered("the answer did not end")
        return bytes(content)

    def _problem(self, answer: httpx2.Response) -> PortalError:
        """Returns the error of an answer that is no success."""
        if answer.is_redirect:
            return UnreadableAnswer(
                "redirected", "Matricule does not redirect: check the URL", status=answer.status_code
            )
        content = self._read(answer)
        wait = _retry_after(answer.headers.get("retry-after", ""))
        with suppress(ValidationError):
            told = _ProblemDocument.model_validate_json(content)
            shape = CLASSES.get(told.code, NotAccepted)
            return shape(
                told.code,
                told.detail or told.title,
                request_id=told.request_id,
                status=answer.status_code,
                faults=[FieldFault(one.field, one.code, one.detail) for one in told.errors],
                retry_after=wait,
            )
        if answer.is_server_error or answer.status_code == 429:
            return Unavailable("unavailable", "no Matricule answers", status=answer.status_code, retry_after=wait)
        return UnreadableAnswer("unreadable_answer", f"status {answer.status_code}", status=answer.status_code)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class _ProblemField(BaseModel):
    field: str = ""
    code: str
    detail: str = ""


class _ProblemDocument(BaseModel):
    code: str
    title: str = ""
    detail: str = ""
    request_id: str = ""
    errors: list[_ProblemField] = []


def header_key(key: str) -> str:
    """Returns an idempotency key as its header carries it.

    Raises: InvalidRequest when it has other than visible ASCII characters: no header carries them, so such a key would
    be another one over the queue.
    """
    check_header_key(key)
    return f'"{key}"'


def check_header_key(key: str) -> None:
    """Checks that a key is the same through every door.

    Raises: InvalidRequest.
    """
    check_key(key)
    if not key.isascii() or " " in key:
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "key", "1 to 200 visible ASCII characters"))


def read(shape: type[AnswerType], answer: HttpAnswer) -> AnswerType:
    """Reads an answer.

    Raises: UnreadableAnswer.
    """
    try:
        return shape.model_validate_json(answer.content)
    except ValidationError:
        kind = answer.headers.get("content-type", "no type")[:100]
        raise UnreadableAnswer("unreadable_answer", f"no {shape.__name__} but {kind!r}", status=answer.status) from None


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _retry_after(text: str) -> float:
    """Returns the seconds of ``Retry-After``; 0 for none and for a date, which Matricule does not send."""
    number = float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0
    return number if math.isfinite(number) else 0.0
