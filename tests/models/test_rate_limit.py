"""A portal has its limit each minute, may send it at once, and is told when the next request is possible."""

import pytest

from models.rate_limit import UNLIMITED, RequestAllowance, judge_request, rate_limit_fields, seconds_for


@pytest.mark.parametrize(
    ("backlog", "limit", "allowed", "remaining", "reset", "retry"),
    [
        (0.0, 6_000, True, 5_999, 1, 0),
        (0.0, 60, True, 59, 1, 0),
        (58.0, 60, True, 1, 59, 0),
        (59.0, 60, True, 0, 1, 0),
        (59.001, 60, False, 0, 1, 1),
        (59.5, 60, False, 0, 1, 1),
        (60.0, 60, False, 0, 1, 1),
        (61.2, 60, False, 0, 3, 3),
        (59.99, 6_000, True, 0, 1, 0),
        (59.995, 6_000, False, 0, 1, 1),
        (60.0, 6_000, False, 0, 1, 1),
        (0.0, 1, True, 0, 60, 0),
        (0.5, 1, False, 0, 1, 1),
        (60.0, 1, False, 0, 60, 60),
        (120.0, 60, False, 0, 61, 61),
    ],
)
def test_a_request_is_allowed_while_its_minute_has_room(
    backlog: float, limit: int, allowed: bool, remaining: int, reset: int, retry: int
) -> None:
    assert judge_request(backlog, limit) == RequestAllowance(allowed, limit, remaining, reset, retry)


@pytest.mark.parametrize("limit", [1, 7, 60, 999, 6_000, 1_000_000])
def test_exactly_the_limit_may_be_sent_at_once(limit: int) -> None:
    backlog, sent = 0.0, 0
    while judge_request(backlog, limit).allowed:
        assert judge_request(backlog, limit).remaining == limit - sent - 1
        backlog += seconds_for(limit)
        sent += 1
    assert sent == limit


@pytest.mark.parametrize("limit", [1, 60, 6_000])
def test_who_waits_as_long_as_told_is_allowed(limit: int) -> None:
    for backlog in (60.0, 60.4, 75.0):
        refused = judge_request(backlog, limit)
        assert not refused.allowed
        assert judge_request(backlog - refused.retry_after, limit).allowed


def test_the_fields_have_the_form_of_the_draft() -> None:
    assert rate_limit_fields(judge_request(0.0, 600)) == {
        "RateLimit-Policy": '"portal";q=600;w=60',
        "RateLimit": '"portal";r=599;t=1',
    }
    assert rate_limit_fields(judge_request(62.5, 60)) == {
        "RateLimit-Policy": '"portal";q=60;w=60',
        "RateLimit": '"portal";r=0;t=4',
        "Retry-After": "4",
    }
    assert rate_limit_fields(UNLIMITED) == {}
