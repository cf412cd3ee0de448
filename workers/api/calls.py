"""A call of the API, as its handler sees it: who calls, the parameters, and what it may use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from models.words import Code
from workers.access.hashing import HASHES_AT_ONCE
from workers.api.making import FileMaker
from workers.api.operation import Operation, Query
from workers.api.problems import ApiProblem, FieldError
from workers.api.recorder import AsyncRecorder
from workers.api.waiting import JobWaiter
from workers.database import Session, autocommit
from workers.errors import InvalidRequest
from workers.portals.keys import KnownKey
from workers.requests.base import check_key

READERS: Final = 8
"""The most reads of one process at a time, less than its pool has connections: none of them waits for one."""

MAX_WAIT: Final = 30.0
"""The most seconds of ``Prefer: wait``."""

TELLING_ERRORS: Final = frozenset(
    {"enum", "literal_error", "int_parsing", "bool_parsing", "greater_than_equal", "less_than_equal", "string_too_long"}
)
"""The errors of query parameters of which the message says what is allowed."""

LONGEST_HINT: Final = 1_000

P = ParamSpec("P")
T = TypeVar("T")


class Services:
    """Parts that the calls of one process share.

    Parameters:
      operations: what is answered.
      is_stopping: tells whether this process stops.
    """

    def __init__(self, operations: tuple[Operation, ...], is_stopping: Callable[[], bool]) -> None:
        self.operations = operations
        self.recorder = AsyncRecorder()
        self.waiter = JobWaiter(is_stopping)
        self.readers = CapacityLimiter(READERS)
        self.hashing = CapacityLimiter(HASHES_AT_ONCE)
        self.maker = FileMaker()


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Parameters:
      key: the key that was sent; None where the operation needs none.
      path: the parameters of the address.
      query: the query parameters, read by the class of the operation.
      request_id: names the call in the answer and in logs.
    """

    http: HttpRequest
    operation: Operation
    services: Services
    known_key: KnownKey | None
    path: Mapping[str, str]
    query: Any
    request_id: str

    @property
    def key(self) -> KnownKey:
        """The key of an operation that needs one."""
        if self.known_key is None:
            raise TypeError(f"{self.operation.name} needs no key")
        return self.known_key

    def identifier(self, name: str) -> UUID:
        """Reads a parameter of the address that is an identifier.

        Raises: ApiProblem with `not_found`: no row has any other.
        """
        try:
            return UUID(self.path[name])
        except ValueError:
            raise ApiProblem(Code.NOT_FOUND) from None

    async def read(self, function: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function that reads the database, in a thread; each of its statements is a transaction of its own."""

        def run() -> T:
            with autocommit() as session:
                return function(session, *args, **kwargs)

        return await self.run(run)

    async def run(self, function: Callable[[], T]) -> T:
        """Calls a function that blocks, in one of few threads."""
        return await to_thread.run_sync(function, limiter=self.services.readers)

    async def make(self, function: Callable[[], T]) -> T:
        """Calls a function that makes a file, which may take long.

        Raises: ApiProblem with `unavailable` while other files are being made.
        """
        return await self.services.maker.make(self.key.portal_id, function)

    def idempotency_key(self) -> str | None:
        """Returns the key of ``Idempotency-Key``, without the quotes of a structured field; None when there is none.

        Raises: ApiProblem when there are two, or when it cannot be one.
        """
        sent = self.http.headers.getlist("idempotency-key")
        if not sent:
            return None
        if len(sent) > 1:
            raise _wrong_header("Idempotency-Key", "sent twice")
        key = sent[0].strip()
        if len(key) >= 2 and key[0] == key[-1] == '"':
            key = key[1:-1]
        if not key.isascii() or " " in key:
            raise _wrong_header("Idempotency-Key", "1 to 200 visible ASCII characters")
        try:
            check_key(key)
        except InvalidRequest as refused:
            raise _wrong_header("Idempotency-Key", refused.problems[0].detail) from None
        return key

    def wait_seconds(self) -> float | None:
        """Returns the seconds that ``Prefer: wait=N`` asks for, at most 30 (RFC 7240); None without such a wish."""
        for preference in ",".join(self.http.headers.getlist("prefer")).split(","):
            name, _, value = preference.partition(";")[0].strip().partition("=")
            number = value.strip().strip('"')
            if name.strip().lower() == "wait" and number.isdecimal() and number.isascii():
                return min(float(number[:6]), MAX_WAIT)
        return None


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """Makes an answer of JSON; values that JSON has no form for become text.

    By pydantic's writer: a page of participants takes it a third of the time that the standard library takes.
    """
    return Response(to_json(value, fallback=str), status, dict(headers or {}), media_type)


def read_query(shape: type[Query], http: HttpRequest) -> Query:
    """Reads the query parameters of a call.

    Raises: ApiProblem naming each that is unknown, sent twice or wrong.
    """
    given = http.query_params.multi_items()
    names = [name for name, _ in given]
    twice = sorted({name for name in names if names.count(name) > 1} & set(shape.model_fields))
    if twice:
        raise ApiProblem(
            Code.INVALID_REQUEST, errors=[FieldError(name, Code.INVALID_REQUEST, "sent twice") for name in twice]
        )
    try:
        return shape.model_validate(dict(given))
    except ValidationError as error:
        raise ApiProblem(Code.INVALID_REQUEST, errors=[*map(partial(_query_error, shape), error.errors())]) from None


def _query_error(shape: type[Query], error: Mapping[str, Any]) -> FieldError:
    name = str(error["loc"][0]) if error["loc"] else ""
    if name not in shape.model_fields:
        return FieldError("", Code.INVALID_REQUEST, "an unknown query parameter")
    return FieldError(name, Code.INVALID_REQUEST, _allowed(error))


def _allowed(error: Mapping[str, Any]) -> str:
    """Says what a parameter takes, as the check of its type says it; that quotes nothing that was sent."""
    said = str(error["msg"])
    if error["type"] not in TELLING_ERRORS:
        return "a value it cannot have"
    return said[:1].lower() + said[1:] if len(said) <= LONGEST_HINT else "none of the words that /v1/docs lists for it"


def _wrong_header(name: str, detail: str) -> ApiProblem:
    return ApiProblem(Code.INVALID_REQUEST, errors=[FieldError(name, Code.INVALID_REQUEST, detail)])
