"""The actor of `requests`: a message of a portal becomes a job, or is kept as refused with its bytes."""

import base64
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID

from dramatiq.middleware import CurrentMessage
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.words import Code
from workers.database import transaction
from workers.engine.acceptance import (
    MessageOwner,
    SubmittedRequest,
    find_portal,
    record_refusal,
)
from workers.engine.claimer import STOPPING, wake_here
from workers.engine.oversized import MessageSize, texts_at_beginning
from workers.engine.recorder import Recorder, record_in_one_transaction
from workers.engine.rollout import newer_release_runs
from workers.errors import InvalidRequest, Problem
from workers.logs import get_logger
from workers.requests.base import MAX_MESSAGE_BYTES, REQUESTS_QUEUE, check_key
from workers.requests.registry import KINDS, parse

log = get_logger()

T = TypeVar("T")

LONGEST_PAUSE: Final = 5.0
"""The longest pause between two tries while PostgreSQL is away, in seconds."""


TOO_LARGE: Final = b"a message that is too large"
"""The content by which messages under one key that are too large count as the same."""

LEAVE_SECONDS: Final = 0.1
"""Seconds for which a thread rests after it has left a message to a process of a newer release."""

RECORDER: Final = Recorder(record_in_one_transaction)


def accept(**fields: Any) -> None:
    """Records one request; returns only once it is committed, because returning acknowledges the message."""
    raw = _bytes_of_this_message(fields)
    try:
        accepted = _until_recorded(lambda: RECORDER.record(_read(fields, raw)))
    except InvalidRequest as problem:
        if not _left_to_newer_release(problem):
            _refuse(raw, problem, fields)
        return
    except Exception as error:  # the outermost edge: a portal's message must not be lost because of a bug
        log.exception("accept.failed", exc_info=error)
        detail = f"{type(error).__name__} while reading it"
        _refuse(raw, InvalidRequest(Problem(Code.UNREADABLE_MESSAGE, "", detail)), fields)
        return
    if accepted is None:
        return
    if not accepted.repeated:
        wake_here(accepted.queue)


def set_aside(*, queue: str, data: str, length: int | None = None, sha256: str = "") -> None:
    """Records a message that cannot be read as refused, with its bytes and its queue.

    Parameters:
      data: its bytes in base64; the first ones of a message that is too large.
      length, sha256: its size, if it is too large.
    """
    message = base64.b64decode(data)
    if length is not None:
        _refuse_oversized(message, queue, MessageSize(length, sha256))
        return
    problem = InvalidRequest(Problem(Code.UNREADABLE_MESSAGE, "", f"came on queue {queue}"))
    if not _left_to_newer_release(problem, queue):
        _refuse(message, problem)


def _refuse_oversized(beginning: bytes, queue: str, size: MessageSize) -> None:
    """Records a message that is too large under its key, so that its portal finds the refusal, with its beginning."""
    code = Code.REQUEST_TOO_LARGE if queue == REQUESTS_QUEUE else Code.UNREADABLE_MESSAGE
    problem = InvalidRequest(Problem(code, "", f"over {MAX_MESSAGE_BYTES} bytes as a message, on queue {queue}"))
    fields = texts_at_beginning(beginning, "portal", "kind", "key") if queue == REQUESTS_QUEUE else {}
    _refuse(beginning, problem, fields, size)


def _read(fields: dict[str, Any], raw: bytes) -> SubmittedRequest:
    if len(raw) > MAX_MESSAGE_BYTES:
        raise InvalidRequest(Problem(Code.REQUEST_TOO_LARGE, "", f"over {MAX_MESSAGE_BYTES} bytes as a message"))
    portal, kind, key, body = (_text(fields, name) for name in ("portal", "kind", "key", "body"))
    if kind in KINDS and fields.get("version") != KINDS[kind].version:
        spoken = KINDS[kind].version
        raise InvalidRequest(Problem(Code.UNKNOWN_KIND, "version", f"{kind} is spoken in version {spoken}"))
    check_key(key)
    return SubmittedRequest(known_portal(portal), parse(kind, body), body, key)


@lru_cache(maxsize=1_000)
def known_portal(name: str) -> UUID:
    """Returns the identifier of a portal. It is cached, because portals are never renamed; an unknown name is not."""
    with transaction() as session:
        return find_portal(session, name)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or "\x00" in value:
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, name, "a text is required"))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, name, "half of a surrogate pair")) from None
    return value


def _refuse(
    raw: bytes, problem: InvalidRequest, fields: dict[str, Any] | None = None, size: MessageSize | None = None
) -> None:
    """Records a refused message; `size` is that of a message that is too large and of which `raw` is the beginning."""
    kind = str((fields or {}).get("kind"))
    content = raw if fields is None else json.dumps(fields, sort_keys=True).encode()

    def record() -> str:
        owner = _owner(fields or {})
        same = content
        if size is not None:  # sent again it has another hash: under a key it is the same all the same
            same = TOO_LARGE if owner else size.sha256.encode()
        with transaction() as session:
            kind_known = kind if kind in KINDS else "unknown"
            facts = {} if size is None else size._asdict()
            job = record_refusal(session, raw, problem, content=same, owner=owner, kind=kind_known, size=facts)
            return str(job)

    job = _until_recorded(record)
    if job is not None:
        log.warning("message.refused", job=job, attempt=0, code=problem.code)


def _left_to_newer_release(problem: InvalidRequest, queue: str = REQUESTS_QUEUE) -> bool:
    """Puts a message back that this release would refuse, if a newer one serves its queue: it may know what it says.

    So a message that comes while a release is rolled out is judged by the newest rules, and a refusal is for good.
    """
    if problem.code in (Code.IDEMPOTENCY_CONFLICT, Code.REQUEST_TOO_LARGE):
        return False

    def newer() -> bool:
        with transaction() as session:
            return newer_release_runs(session, queue)

    found = _until_recorded(newer)
    if found is False:
        return False
    _give_back_this_message()  # also when this process stops
    log.warning("message.left_to_newer_release", code=problem.code)
    STOPPING.wait(LEAVE_SECONDS)  # the other process takes it meanwhile
    return True


def _owner(fields: dict[str, Any]) -> MessageOwner | None:
    """Reads the portal and the key of a refused request; returns None when one of them cannot be read."""
    try:
        portal, key = _text(fields, "portal"), _text(fields, "key")
        check_key(key)
        return MessageOwner(known_portal(portal), key)
    except InvalidRequest:
        return None


def _until_recorded(record: Callable[[], T]) -> T | None:
    """Records a request, and tries again while PostgreSQL is away, because a message is acknowledged after the commit.

    Returns: None if this process stops first; then the message goes back to its queue.
    """
    pause = 0.1
    while True:
        try:
            return record()
        except DBAPIError as error:
            if isinstance(error, DataError | IntegrityError):
                raise
            log.warning("accept.waits", exc_info=error)
        except PoolTimeoutError as error:
            log.warning("accept.waits", exc_info=error)
        if STOPPING.wait(pause):
            _give_back_this_message()
            return None
        pause = min(pause * 2, LONGEST_PAUSE)


def _give_back_this_message() -> None:
    message: Any = CurrentMessage.get_current_message()
    if message is not None:
        message.given_back = True


def _bytes_of_this_message(fields: dict[str, Any]) -> bytes:
    """Returns the bytes of the message as it arrived, which the consumer keeps."""
    message = CurrentMessage.get_current_message()
    raw: bytes | None = getattr(message, "raw", None)
    return raw if raw is not None else json.dumps(fields).encode()
