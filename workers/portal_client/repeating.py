"""Repeats what was not answered, under the same key, with longer pauses each time."""

import random
import time
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from workers.portal_client.errors import PortalError

T = TypeVar("T")

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0


def repeat(attempt: Callable[[], T], patience: float) -> T:
    """Calls an attempt until it is answered.

    Parameters:
      patience: seconds after which no further try begins; a wait that Matricule asks for beyond them is not waited.

    Raises: PortalError, the last one: repeat the request under the same key later.
    """
    until = time.monotonic() + patience
    for number in count():
        try:
            return attempt()
        except PortalError as error:
            pause = pause_after(error, number)
            if not error.repeatable or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
    raise AssertionError("count() does not end")


def pause_after(error: PortalError, number: int) -> float:
    """Returns the seconds to wait after the failed try of this number, from 0.

    They are random, so that many portals that lost Matricule at one moment do not come back at one moment. What
    `Retry-After` asks for is the least.
    """
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(number, 10))
    return error.retry_after + random.uniform(longest / 2, longest)  # noqa: S311 - no secret
