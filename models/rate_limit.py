"""How many requests a portal may send: a token bucket, kept as the time until it is full again (GCRA).

A portal with a limit of N has N requests, and each comes back after 60 / N seconds. So it may send a minute's worth at
once, and then N in each minute. The bucket is one number: the seconds until all of it is back (the backlog). A request
adds 60 / N to it; one that would bring it above a minute is refused and adds nothing.
"""

import math
from typing import Final, NamedTuple

PERIOD_SECONDS: Final = 60.0
_ROUNDING: Final = 1e-6  # seconds that sums of fractions may be wrong by


class RequestAllowance(NamedTuple):
    """The answer to one request of a portal.

    Parameters:
      limit: the requests in each minute, or None: any number; then the other numbers say nothing.
      remaining: how many more it may send now.
      reset_seconds: whole seconds until all are back; when none remains, until the next one is.
      retry_after: whole seconds after which a request that was refused can be sent again; 0 for one that was allowed.
    """

    allowed: bool
    limit: int | None
    remaining: int = 0
    reset_seconds: int = 0
    retry_after: int = 0


UNLIMITED: Final = RequestAllowance(allowed=True, limit=None)


def seconds_for(limit: int) -> float:
    """Returns the seconds after which one request comes back."""
    return PERIOD_SECONDS / limit


def judge_request(backlog: float, limit: int) -> RequestAllowance:
    """Tells whether a portal may send one more request.

    Parameters:
      backlog: seconds until all of its requests are back, not counting this one.
      limit: its requests in each minute.
    """
    each = seconds_for(limit)
    over = backlog + each - PERIOD_SECONDS
    if over > _ROUNDING:
        wait = max(1, math.ceil(over))
        return RequestAllowance(allowed=False, limit=limit, reset_seconds=wait, retry_after=wait)
    remaining = int((_ROUNDING - over) / each)
    until = backlog + each if remaining else over + each
    return RequestAllowance(allowed=True, limit=limit, remaining=remaining, reset_seconds=math.ceil(until))


def rate_limit_fields(allowance: RequestAllowance) -> dict[str, str]:
    """Returns the fields of an answer that tell a portal its limit (draft-ietf-httpapi-ratelimit-headers-11).

    A refused request gets ``Retry-After`` as well, with the same moment. A portal without a limit is told nothing.
    """
    if allowance.limit is None:
        return {}
    fields = {
        "RateLimit-Policy": f'"portal";q={allowance.limit};w={PERIOD_SECONDS:.0f}',
        "RateLimit": f'"portal";r={allowance.remaining};t={allowance.reset_seconds}',
    }
    return fields if allowance.allowed else fields | {"Retry-After": str(allowance.retry_after)}
