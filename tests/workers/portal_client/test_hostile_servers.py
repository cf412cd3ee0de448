"""The client of portals does not trust what answers: no page, redirection, flood or drip harms it or learns its key."""

import json
import logging
from collections.abc import Callable, Iterable
from itertools import repeat

import pytest

from models.portal_key import make_key
from tests.kit.webhooks.receiver import DROP, HANG, Received, Receiver, answer, in_turn
from workers.portal_client import (
    KeyUsedBefore,
    NotAccepted,
    Portal,
    PortalError,
    RateLimited,
    Unanswered,
    Unavailable,
    UnreadableAnswer,
)

KEY = make_key().text
JOB = {"id": "0198f0c2-7d40-7b02-8c1d-5a2f9e0c4b77", "kind": "withdraw", "state": "queued", "finished": False}
ACCEPTED = answer(202, json.dumps(JOB).encode(), "Content-Type: application/json")
PAGE = b"<html><body>Please sign in to the network</body></html>"
ENROLLMENT = "0198f0c2-7d40-7b02-8c1d-5a2f9e0c4b77"


def problem(status: int, code: str, *headers: str) -> bytes:
    told = {"type": "about:blank", "title": "T", "status": status, "code": code, "request_id": "r-1"}
    return answer(status, json.dumps(told).encode(), "Content-Type: application/problem+json", *headers)


def ask(script: Callable[[Received], bytes | Iterable[bytes]], **options: float) -> tuple[object, list[Received]]:
    """Withdraws a person from a server with this script; returns the job or the error, and what was received."""
    given = {"timeout": 5.0, "patience": 30.0} | options
    with Receiver(script, drip=options.pop("drip", 0.0)) as server:
        given.pop("drip", None)
        with Portal(f"http://127.0.0.1:{server.port}/v1", key=KEY, **given) as portal:  # type: ignore[arg-type]
            try:
                return portal.withdraw("C-1", [ENROLLMENT], key="one"), server.received
            except PortalError as error:
                return error, server.received


def keys(received: list[Received]) -> set[str]:
    return {one.headers["idempotency-key"] for one in received}


@pytest.mark.parametrize(
    ("first", "times"),
    [
        (DROP, 2),
        (problem(503, "unavailable", "Retry-After: 0"), 2),
        (problem(500, "internal_error"), 2),
        (problem(429, "rate_limited", "Retry-After: 1"), 2),
        (answer(502, PAGE, "Content-Type: text/html"), 2),
        (answer(504, PAGE), 2),
    ],
)
def test_it_repeats_under_the_same_key_what_may_be_answered_later(first: bytes, times: int) -> None:
    job, received = ask(in_turn(first, then=ACCEPTED))
    assert str(getattr(job, "id", job)) == JOB["id"]
    assert (len(received), keys(received)) == (times, {'"one"'})
    assert len({one.body for one in received}) == 1


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (problem(409, "idempotency_conflict", "Retry-After: 0"), KeyUsedBefore, "idempotency_conflict"),
        (problem(400, "invalid_request"), NotAccepted, "invalid_request"),
        (problem(418, "a_newer_code"), NotAccepted, "a_newer_code"),
        (answer(200, PAGE, "Content-Type: text/html"), UnreadableAnswer, "unreadable_answer"),
        (answer(202, b'{"id": "no uuid"}'), UnreadableAnswer, "unreadable_answer"),
        (answer(200, b"not gzip", "Content-Encoding: gzip"), UnreadableAnswer, "unreadable_answer"),
        (answer(404, PAGE, "Content-Type: text/html"), UnreadableAnswer, "unreadable_answer"),
        (answer(407, PAGE), UnreadableAnswer, "unreadable_answer"),
    ],
)
def test_it_asks_once_where_a_repeat_cannot_help(said: bytes, kind: type[PortalError], code: str) -> None:
    error, received = ask(lambda _: said)
    assert (type(error), getattr(error, "code", ""), len(received)) == (kind, code, 1)
    assert KEY not in str(error)


def test_a_wait_beyond_its_patience_is_told_and_not_waited() -> None:
    error, received = ask(lambda _: problem(429, "rate_limited", "Retry-After: 3600"), patience=5)
    assert isinstance(error, RateLimited)
    assert (error.retry_after, error.request_id, len(received)) == (3600, "r-1", 1)


def test_a_server_that_stays_unavailable_is_an_error_in_the_end() -> None:
    error, received = ask(lambda _: problem(503, "unavailable"), patience=1)
    assert isinstance(error, Unavailable)
    assert (len(received) > 1, len(received) < 10) == (True, True)


def test_a_hanging_or_dripping_server_ends_in_time() -> None:
    error, _ = ask(lambda _: HANG, timeout=0.3, patience=0)
    assert isinstance(error, Unanswered)
    head = b"HTTP/1.1 202 Said\r\nContent-Length: 100000\r\n\r\n"
    error, _ = ask(lambda _: (head, *repeat(b" ", 1_000)), timeout=0.3, patience=0, drip=0.02)
    assert isinstance(error, Unanswered)


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 Said\r\nContent-Length: 10000000000\r\n\r\n"
    sent = 0

    def endless() -> Iterable[bytes]:
        nonlocal sent
        yield head
        while True:
            sent += 1 << 20
            yield b" " * (1 << 20)

    error, _ = ask(lambda _: endless(), timeout=60)
    assert isinstance(error, UnreadableAnswer)
    assert sent < 1 << 28


def test_a_redirection_never_takes_the_key_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver(lambda _: ACCEPTED) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            to = f"Location: http://localhost:{elsewhere.port}/v1/contracts/C-1/withdrawals"
            error, received = ask(lambda _, status=status, to=to: answer(status, b"", to))  # type: ignore[misc]
            assert (getattr(error, "code", ""), len(received)) == ("redirected", 1)
        assert elsewhere.received == []
    assert KEY not in caplog.text


def test_a_proxy_of_the_environment_does_not_learn_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(lambda _: ACCEPTED) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        job, received = ask(lambda _: ACCEPTED)
        assert (proxy.received, len(received)) == ([], 1)
    assert str(getattr(job, "id", job)) == JOB["id"]


def test_a_page_that_is_followed_by_itself_ends() -> None:
    page = answer(200, b'{"items": [], "next": "a"}')
    with Receiver(lambda _: page) as server, Portal(f"http://127.0.0.1:{server.port}/v1", key=KEY) as portal:
        with pytest.raises(UnreadableAnswer):
            list(portal.contracts())
        assert len(server.received) == 2
