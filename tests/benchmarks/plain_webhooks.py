"""The limit of webhooks: httpx2 alone, which signs nothing and records nothing, in a separate process.

python -m tests.benchmarks.plain_webhooks URL COUNT CONNECTIONS posts the same body again and again over as many
connections, and prints the times of the first and the last answer, in seconds.
"""

import asyncio
import sys
import time
from collections import deque

import httpx2

from tests.benchmarks.webhooks import BODY


async def post(url: str, count: int, connections: int) -> list[float]:
    """Posts the bodies; returns the time of each answer."""
    left, answered = deque(range(count)), list[float]()
    headers = {"content-type": "application/json"}
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx2.AsyncClient(limits=limits, trust_env=False, timeout=15.0) as client:

        async def work() -> None:
            while left:
                left.popleft()
                answer = await client.post(url, content=BODY.encode(), headers=headers)
                assert answer.status_code == 204
                answered.append(time.time())

        await asyncio.gather(*(work() for _ in range(connections)))
    return answered


def main() -> None:
    url, count, connections = sys.argv[1:]
    answered = asyncio.run(post(url, int(count), int(connections)))
    print(answered[0], answered[-1])


if __name__ == "__main__":
    main()
