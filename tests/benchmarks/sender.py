"""A portal that sends as fast as it can: requests for one person each, through the queue door. A process of its own.

python -m tests.benchmarks.sender COUNT CONTRACTS; prints when it sent the first, and when the last, in seconds.
"""

import os
import sys
import time

from tests.benchmarks.population import single
from workers.portal_client import PortalClient


def send(count: int, contracts: int) -> tuple[float, float]:
    """Sends them all; returns when the first was sent and when the last had been."""
    requests = [single(number, contracts) for number in range(count)]
    client = PortalClient(os.environ["REDIS_URL"], namespace=os.environ["REDIS_NAMESPACE"])
    began = time.time()
    for number, request in enumerate(requests):
        client.send(request, key=f"bench-{number}")
    ended = time.time()
    client.close()
    return began, ended


if __name__ == "__main__":
    print(*send(int(sys.argv[1]), int(sys.argv[2])))
