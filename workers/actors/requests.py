"""The actor of `requests`: the messages of portals become jobs, or are kept as refused with their bytes.

They come in bundles, in the order in which they were sent, and are recorded in that order.
"""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

from dramatiq.middleware import CurrentMessage

from models.base import new_id
from models.words import Code
from workers.database import Session, is_transient, transaction
from workers.engine.acceptance import (
    AcceptedJob,
    SubmittedRequest,
    accept_all,
    record_refusal,
)
from workers.engine.claimer import STOPPING, wake_here
from workers.engine.door import Bundle, MessageOutcome, Outcome, SentMessage
from workers.engine.oversized import MessageSize
from workers.engine.rollout import newer_release_runs
from workers.engine.streams import tell_portals
from workers.engine.tries import (
    NEWER_RELEASE,
    REFUSED,
    STOPS,
    GivenBackError,
    concerns_database,
    lone_transaction,
    reason_of,
    until_recorded,
    while_away,
)
from workers.errors import IdempotencyConflict, InvalidRequest, Problem
from workers.logs import get_logger
from workers.portals.messages import VerifiedMessage, find_sender, read_message
from workers.requests.base import MAX_MESSAGE_BYTES, REQUESTS_QUEUE
from workers.requests.registry import KINDS
from workers.signs import SIGNS

log = get_logger()

LEAVE_SECONDS: Final = 0.1
"""Seconds for which a thread rests after it has left a message of a wake-up queue to a process of a newer release."""


def accept_bundle() -> None:
    """Records the requests that came with this message; what is recorded when it returns is acknowledged."""
    message: Any = CurrentMessage.get_current_message()
    record_bundle(message.bundle)
    tell_portals(message.bundle.answers)


@SIGNS.during("recording of requests")
def record_bundle(bundle: Bundle) -> None:
    """Records messages in the order in which they were sent, and counts them in the bundle.

    Requests between two refusals share a statement and a commit. At the first message that must be given back it stops,
    so that none overtakes it; the rest is read again, by this process or another.
    """
    bundle.begun = True
    run: list[tuple[SentMessage, SubmittedRequest]] = []
    try:
        contents = while_away(lambda: [_looked_into(message) for message in bundle.messages])
        for message, content in zip(bundle.messages, contents, strict=True):
            if isinstance(content, SubmittedRequest):
                run.append((message, content))
                continue
            _accept_run(bundle, run)
            run = []
            _record_next(bundle, message, content)
        _accept_run(bundle, run)
    except GivenBackError as left:
        bundle.left_for = left.reason
        count = len(bundle.messages) - bundle.recorded
        log.warning("bundle.left", recorded=bundle.recorded, left=count, reason=left.reason)


def _looked_into(message: SentMessage) -> SubmittedRequest | InvalidRequest | None:
    """Reads the request of a message, or tells why it is refused; returns None when an error is looked at later.

    Raises: an error of PostgreSQL, which is away.
    """
    try:
        return _look_into(message, REQUESTS_QUEUE)
    except Exception as error:
        if is_transient(error):
            raise
        return None


def _look_into(message: SentMessage, queue: str) -> SubmittedRequest | InvalidRequest:
    """Reads the request of a message that came on a queue, or tells why it is refused."""
    if message.size is not None:
        return _too_large(queue)
    if message.fields is None:
        return _unreadable(f"came on queue {queue}")
    try:
        return read_message(message.fields, message.arrived)
    except InvalidRequest as problem:
        return problem


def _accept_run(bundle: Bundle, run: Sequence[tuple[SentMessage, SubmittedRequest]]) -> None:
    """Records requests with one commit; if one of them makes that fail, each is recorded alone, in the same order.

    So those before the one that fails are recorded, also where it only has to wait.
    """
    if not run:
        return
    try:
        answers = while_away(lambda: _record_together([ask for _, ask in run]))
    except Exception as error:
        if isinstance(error, GivenBackError) and (len(run) == 1 or error.reason == STOPS):
            raise
        for message, ask in run:  # each one's own error is told there
            _record_next(bundle, message, ask)
        return
    _wake(answers)
    for (message, _), answer in zip(run, answers, strict=True):
        if isinstance(answer, InvalidRequest):
            _record_next(bundle, message, answer)
        else:
            bundle.count(message, _accepted(answer))


def _record_together(
    asks: Sequence[SubmittedRequest], within: Callable[[], AbstractContextManager[Session]] = transaction
) -> list[AcceptedJob | IdempotencyConflict]:
    """Commits these requests together; returns an answer for each."""
    with within() as session:
        answers = accept_all(session, asks)
    jobs = [f"{answer.job_id}#0" for answer in answers if isinstance(answer, AcceptedJob)]
    log.info("requests.accepted", rows=jobs, count=len(jobs))
    return answers


def _wake(answers: Iterable[AcceptedJob | IdempotencyConflict]) -> None:
    for queue in {answer.queue for answer in answers if isinstance(answer, AcceptedJob) and not answer.repeated}:
        wake_here(queue)


def _record_next(bundle: Bundle, message: SentMessage, content: SubmittedRequest | InvalidRequest | None) -> None:
    """Records the next message of a bundle alone.

    A message that PostgreSQL failed on is acknowledged before the one behind it is recorded. If this process died
    between the two, it would be read again, could succeed by then, and would come behind what was sent after it.

    Raises: GivenBackError.
    """
    recorded, bundle.fault = _record_alone(message, content)
    bundle.count(message, recorded)
    if bundle.fault is not None:
        raise GivenBackError(REFUSED)


def _record_alone(
    message: SentMessage, content: SubmittedRequest | InvalidRequest | None = None, queue: str = REQUESTS_QUEUE
) -> tuple[MessageOutcome, str | None]:
    """Records a message, as a job or as refused.

    Returns: its outcome, and the code of the error if it is refused because PostgreSQL fails on it alone, else None.

    Raises: GivenBackError.
    """
    try:
        return until_recorded(lambda: _settle(message, content, queue)), None
    except GivenBackError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge: a bug must not lose a portal's message
        return _refuse_after(error, message, queue), reason_of(error) if concerns_database(error) else None


def _settle(message: SentMessage, content: SubmittedRequest | InvalidRequest | None, queue: str) -> MessageOutcome:
    """Tries once to record a message alone."""
    found = _look_into(message, queue) if content is None else content
    if isinstance(found, SubmittedRequest):
        answers = _record_together([found], lone_transaction)
        _wake(answers)
        if isinstance(answers[0], AcceptedJob):
            return _accepted(answers[0])
        found = answers[0]
    if message.size is None:
        _leave_to_newer_release(found, queue)
    return _refuse(message, found)


def _accepted(job: AcceptedJob) -> MessageOutcome:
    return MessageOutcome(Outcome.REPEATED if job.repeated else Outcome.ACCEPTED, str(job.job_id))


def _refuse_after(error: Exception, message: SentMessage, queue: str) -> MessageOutcome:
    """Refuses a message for an error: under its key, or else by its content, or else under a key of this moment.

    The last two are for a message under a key that cannot be written; the last one may keep it twice, if it is read
    again.

    Raises: GivenBackError when it cannot be kept at all, or a newer release is to judge it.
    """
    problem = _fault(error) if concerns_database(error) else _bug(error)
    steps: list[Callable[[], MessageOutcome | None]] = [
        partial(_leave_to_newer_release, problem, queue),
        partial(_refuse, message, problem),
        partial(_refuse, message._replace(fields=None), problem),
        partial(_refuse, message._replace(fields=None), problem, new_id().bytes),
    ]
    for step in steps:
        try:
            if recorded := while_away(step):
                return recorded
        except GivenBackError:
            raise
        except Exception as failed:  # the outermost edge: the next step may succeed
            log.warning("refusal.failed", exc_info=failed)
    raise GivenBackError(reason_of(error))


def _fault(error: Exception) -> InvalidRequest:
    log.error("message.at_fault", exc_info=error)
    detail = f"{reason_of(error)} of the database each time it was tried, while others could be recorded"
    return InvalidRequest(Problem(Code.NOT_RECORDABLE, "", detail))


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
    size = None if length is None else MessageSize(length, sha256)
    try:
        _record_alone(SentMessage(b"", base64.b64decode(data), None, size), queue=queue)
    except GivenBackError as left:
        if left.reason == NEWER_RELEASE:
            STOPPING.wait(LEAVE_SECONDS)  # the other process takes it meanwhile
        _give_back_this_message()


def _refuse(message: SentMessage, problem: InvalidRequest, apart: bytes = b"") -> MessageOutcome:
    """Tries once to record a message as refused: under the key of the portal that signed it, or under no portal's key.

    Parameters:
      apart: more bytes by which its content differs from that of every other message.
    """
    sender = None if message.fields is None else find_sender(message.fields, message.arrived)
    kind = str((message.fields or {}).get("kind"))
    with lone_transaction() as session:
        job = record_refusal(
            session,
            message.data,
            problem,
            content=_content(message, sender) + apart,
            owner=sender and sender.owner,
            kind=kind if kind in KINDS else "unknown",
            size={} if message.size is None else message.size._asdict(),
        )
    if job is not None:
        log.warning("message.refused", job=str(job), attempt=0, code=problem.code)
    outcome = Outcome.CONFLICT if problem.code == Code.IDEMPOTENCY_CONFLICT else Outcome.REFUSED
    return MessageOutcome(outcome, str(job or ""), problem.code, verified=sender is not None)


def _content(message: SentMessage, sender: VerifiedMessage | None) -> bytes:
    """Returns the part of a message that is the same when it is sent again."""
    if sender is not None:
        return sender.content
    if message.size is not None:
        return message.size.sha256.encode()
    return message.data if message.fields is None else json.dumps(message.fields, sort_keys=True).encode()


def _leave_to_newer_release(problem: InvalidRequest, queue: str) -> None:
    """Gives a message back that this process would refuse, if a newer release serves its queue and may know it.

    So a message that comes while a release is rolled out is judged by the newest rules, and a refusal is for good.

    Raises: GivenBackError.
    """
    if problem.code in (Code.IDEMPOTENCY_CONFLICT, Code.REQUEST_TOO_LARGE):
        return
    with lone_transaction() as session:
        newer = newer_release_runs(session, queue)
    if newer:
        log.warning("message.left_to_newer_release", code=problem.code)
        raise GivenBackError(NEWER_RELEASE)


def _give_back_this_message() -> None:
    message: Any = CurrentMessage.get_current_message()
    if message is not None:
        message.given_back = True
