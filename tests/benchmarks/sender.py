"""A portal that sends requests for one person each by a door of Redis, as fast as it can, in a separate process.

python -m tests.benchmarks.sender COUNT CONTRACTS BATCH prints when it sent the first and when the last, in seconds. It
sends one at a time, or this many with each `send_many`.
"""

import sys
import time

from tests.benchmarks.population import single
from tests.benchmarks.portal import open_client


def send(count: int, contracts: int, batch: int) -> tuple[float, float]:
    """Sends all requests; returns when it sent the first and when the last."""
    requests = [(single(number, contracts), f"bench-{number}") for number in range(count)]
    client = open_client()
    began = time.time()
    if batch == 1:
        for request, key in requests:
            client.send(request, key=key)
    else:
        for start in range(0, count, batch):
            client.send_many(requests[start : start + batch])
    ended = time.time()
    client.close()
    return began, ended


if __name__ == "__main__":
    print(*send(*map(int, sys.argv[1:])))
