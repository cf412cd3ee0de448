"""A portal that sends requests for one person each on queue `requests`, as fast as it can, in a separate process.

python -m tests.benchmarks.sender COUNT CONTRACTS prints when it sent the first and when the last, in seconds.
"""

import os
import sys
import time

from tests.benchmarks.population import single
from workers.portal_client import PortalClient


def send(count: int, contracts: int) -> tuple[float, float]:
    """Sends all requests; returns when it sent the first and when the last."""
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
