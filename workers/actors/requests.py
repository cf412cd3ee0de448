"""The actor of `requests`: the messages of portals become jobs, or are kept as refused with their bytes.

They come in bundles, in the order in which they were sent, and are recorded in that order.
"""

import base64
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID

from dramatiq.middleware import CurrentMessage
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.words import Code
from workers.database import is_transient, sql_state, transaction
from workers.engine.acceptance import (
    AcceptedJob,
    MessageOwner,
    SubmittedRequest,
    accept_all,
    find_portal,
    record_refusal,
)
from workers.engine.claimer import STOPPING, wake_here
from workers.engine.door import Bundle, SentMessage
from workers.engine.oversized import MessageSize, texts_at_beginning
from workers.engine.rollout import newer_release_runs
from workers.errors import IdempotencyConflict, InvalidRequest, Problem
from workers.logs import get_logger
from workers.requests.base import MAX_MESSAGE_BYTES, REQUESTS_QUEUE, check_key
from workers.requests.registry import KINDS, parse

log = get_logger()

T = TypeVar("T")

PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between two tries while PostgreSQL is away. After the last one another process may try: it may reach it."""

TOO_COMPLEX: Final = frozenset({"54000", "54001", "54011", "54023"})
"""SQL states of errors that the request itself causes, each time it is tried."""

TOO_LARGE: Final = b"a message that is too large"
"""The content by which messages under one key that are too large count as the same."""

LEAVE_SECONDS: Final = 0.1
"""Seconds for which a thread rests after it has left a message of a wake-up queue to a process of a newer release."""


class GivenBackError(Exception):
    """A message goes back to its queue: this process stops, does not reach PostgreSQL, or a newer one knows more."""


def accept_bundle() -> None:
    """Records the requests that came with this message; what is recorded when it returns is acknowledged."""
    message: Any = CurrentMessage.get_current_message()
    record_bundle(message.bundle)


def record_bundle(bundle: Bundle) -> None:
    """Records messages in the order in which they were sent, and counts them in the bundle.

    Requests between two refusals share a statement and a commit. At the first message that must be given back it stops,
    so that none overtakes it; the rest is read again, by this process or another.
    """
    bundle.begun = True
    run: list[tuple[SentMessage, SubmittedRequest]] = []
    try:
        contents = _until_recorded(lambda: [_look_into(message) for message in bundle.messages])
        for message, content in zip(bundle.messages, contents, strict=True):
            if isinstance(content, SubmittedRequest):
                run.append((message, content))
                continue
            _accept_run(bundle, run)
            run = []
            _refuse_message(bundle, message, content)
        _accept_run(bundle, run)
    except GivenBackError:
        left = len(bundle.messages) - bundle.recorded
        log.warning("bundle.left", recorded=bundle.recorded, left=left)


def _look_into(message: SentMessage) -> SubmittedRequest | InvalidRequest:
    """Reads the request of a message, or tells why it is refused."""
    if message.size is not None:
        return _too_large(REQUESTS_QUEUE)
    if message.fields is None:
        return _unreadable(f"came on queue {REQUESTS_QUEUE}")
    try:
        return _read(message.fields)
    except InvalidRequest as problem:
        return problem
    except Exception as error:
        if _concerns_database(error):
            raise
        return _bug(error)


def _accept_run(bundle: Bundle, run: Sequence[tuple[SentMessage, SubmittedRequest]]) -> None:
    """Records requests with one commit; if one of them makes that fail, each is recorded alone, in the same order."""
    if not run:
        return
    answers: Sequence[AcceptedJob | InvalidRequest]
    try:
        asks = [ask for _, ask in run]
        answers = _until_recorded(lambda: _record_together(asks), alone=len(run) == 1)
    except GivenBackError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge: a bug must not lose a portal's message
        if len(run) > 1:
            for one in run:
                _accept_run(bundle, [one])
            return
        answers = [_bug(error)]
    for queue in {answer.queue for answer in answers if isinstance(answer, AcceptedJob) and not answer.repeated}:
        wake_here(queue)
    for (message, _), answer in zip(run, answers, strict=True):
        if isinstance(answer, InvalidRequest):
            _refuse_message(bundle, message, answer)
        else:
            bundle.recorded += 1


def _record_together(asks: Sequence[SubmittedRequest]) -> list[AcceptedJob | IdempotencyConflict]:
    """Commits these requests together; returns an answer for each."""
    with transaction() as session:
        answers = accept_all(session, asks)
    jobs = [f"{answer.job_id}#0" for answer in answers if isinstance(answer, AcceptedJob)]
    log.info("requests.accepted", rows=jobs, count=len(jobs))
    return answers


def _refuse_message(bundle: Bundle, message: SentMessage, problem: InvalidRequest) -> None:
    """Records a message as refused, unless a process of a newer release is to judge it.

    Raises: GivenBackError.
    """
    if _is_for_newer_release(problem):
        raise GivenBackError
    try:
        if message.size is not None:
            _refuse_oversized(message.data, REQUESTS_QUEUE, message.size)
        else:
            _refuse(message.data, problem, message.fields)
    except GivenBackError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge: what cannot be refused under its key is kept as bytes
        _refuse(message.data, _bug(error))
    bundle.recorded += 1


def _bug(error: Exception) -> InvalidRequest:
    log.error("accept.failed", exc_info=error)
    return _unreadable(f"{type(error).__name__} while reading it")


def _unreadable(detail: str) -> InvalidRequest:
    return InvalidRequest(Problem(Code.UNREADABLE_MESSAGE, "", detail))


def _too_large(queue: str) -> InvalidRequest:
    code = Code.REQUEST_TOO_LARGE if queue == REQUESTS_QUEUE else Code.UNREADABLE_MESSAGE
    return InvalidRequest(Problem(code, "", f"over {MAX_MESSAGE_BYTES} bytes as a message, on queue {queue}"))


def set_aside(*, queue: str, data: str, length: int | None = None, sha256: str = "") -> None:
    """Records what came on a queue of wake-ups and is none as refused, with its bytes and its queue.

    Parameters:
      data: its bytes in base64; the first ones of a message that is too large.
      length, sha256: its size, if it is too large.
    """
    message = base64.b64decode(data)
    try:
        if length is not None:
            _refuse_oversized(message, queue, MessageSize(length, sha256))
            return
        problem = _unreadable(f"came on queue {queue}")
        if not _is_for_newer_release(problem, queue):
            _refuse(message, problem)
            return
        STOPPING.wait(LEAVE_SECONDS)  # the other process takes it meanwhile
    except GivenBackError:
        pass
    _give_back_this_message()


def _refuse_oversized(beginning: bytes, queue: str, size: MessageSize) -> None:
    """Records a message that is too large under its key, so that its portal finds the refusal, with its beginning."""
    fields = texts_at_beginning(beginning, "portal", "kind", "key") if queue == REQUESTS_QUEUE else {}
    _refuse(beginning, _too_large(queue), fields, size)


def _read(fields: dict[str, Any]) -> SubmittedRequest:
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
    if value.isascii():  # most are, and it costs nothing to see
        return value
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


def _is_for_newer_release(problem: InvalidRequest, queue: str = REQUESTS_QUEUE) -> bool:
    """Tells whether a newer release serves the queue of a message that this one would refuse: it may know what it says.

    So a message that comes while a release is rolled out is judged by the newest rules, and a refusal is for good.
    """
    if problem.code in (Code.IDEMPOTENCY_CONFLICT, Code.REQUEST_TOO_LARGE):
        return False

    def newer() -> bool:
        with transaction() as session:
            return newer_release_runs(session, queue)

    if not _until_recorded(newer):
        return False
    log.warning("message.left_to_newer_release", code=problem.code)
    return True


def _owner(fields: dict[str, Any]) -> MessageOwner | None:
    """Reads the portal and the key of a refused request; returns None when one of them cannot be read."""
    try:
        portal, key = _text(fields, "portal"), _text(fields, "key")
        check_key(key)
        return MessageOwner(known_portal(portal), key)
    except InvalidRequest:
        return None


def _until_recorded(record: Callable[[], T], *, alone: bool = True) -> T:
    """Records something, and tries again while PostgreSQL is away, because a message is acknowledged after the commit.

    Parameters:
      alone: it is about one message. Of several, one may be the reason of any error but a lack of PostgreSQL.

    Raises:
      GivenBackError: this process stops, or PostgreSQL was away for all tries.
      Exception: the error of the message itself.
    """
    for pause in PAUSES:
        try:
            return record()
        except (DBAPIError, PoolTimeoutError) as error:
            if not _concerns_database(error) or (not alone and not is_transient(error)):
                raise
            log.warning("accept.waits", exc_info=error)
        if STOPPING.wait(pause):
            break
    raise GivenBackError


def _concerns_database(error: Exception) -> bool:
    """Tells whether an error is one of PostgreSQL that the next try may not meet; it is not about the message."""
    if isinstance(error, DataError | IntegrityError) or sql_state(error) in TOO_COMPLEX:
        return False
    return isinstance(error, DBAPIError | PoolTimeoutError)


def _give_back_this_message() -> None:
    message: Any = CurrentMessage.get_current_message()
    if message is not None:
        message.given_back = True
