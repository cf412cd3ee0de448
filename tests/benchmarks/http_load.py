"""A client that enrols people over HTTP again and again, in a separate process.

python -m tests.benchmarks.http_load URL PATH KEY FIRST COUNT CONNECTIONS enrols COUNT people and prints the
requests per second between the first and the last answer, then the median and the 99th percentile of the seconds an
answer took. It speaks just enough HTTP to cost little beside the server.
"""

import asyncio
import sys
import time
from statistics import median
from urllib.parse import urlsplit

from tests.benchmarks.measure import percentile
from tests.benchmarks.population import person


class Caller(asyncio.Protocol):
    """One connection, on which a request follows the answer of the one before.

    Parameters:
      head: the request line and the headers that all requests have.
      numbers: the people who are left to enrol; all connections share it.
      taken: the seconds each answer took, with the moment it came.
    """

    def __init__(self, head: bytes, numbers: "list[int]", taken: "list[tuple[float, float]]") -> None:
        self.head, self.numbers, self.taken = head, numbers, taken
        self.ended = asyncio.get_running_loop().create_future()
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Sends the next request, or ends when none is left."""
        if not self.numbers:
            self.ended.set_result(None)
            self.transport.close()
            return
        number = self.numbers.pop()
        body = f'{{"people":[{person(number).model_dump_json(exclude_defaults=True)}]}}'.encode()
        self.sent = time.perf_counter()
        self.transport.write(
            self.head + b"Idempotency-Key: order-%d\r\nContent-Length: %d\r\n\r\n" % (number, len(body)) + body
        )

    def data_received(self, data: bytes) -> None:
        """Takes a part of the answer, and sends the next request at its end."""
        self.waiting += data
        end = self.waiting.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.waiting[:end].lower()
        if len(self.waiting) < end + 4 + int(head.partition(b"content-length: ")[2].partition(b"\r")[0]):
            return
        assert head.startswith(b"http/1.1 202"), self.waiting
        self.waiting, now = b"", time.perf_counter()
        self.taken.append((now, now - self.sent))
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionResetError("the server hung up"))


async def enrol(url: str, path: str, key: str, people: range, connections: int) -> "list[tuple[float, float]]":
    """Enrols the people with these numbers; returns the moment of each answer and how long it took."""
    where = urlsplit(url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nAccept: */*\r\nUser-Agent: portal/1.0\r\n"
    ).encode()
    numbers, taken = list(people), list[tuple[float, float]]()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Caller(head, numbers, taken), where.hostname or "", where.port or 80)
        for _ in range(connections)
    ]
    await asyncio.gather(*(caller.ended for _, caller in opened))
    return taken


def main() -> None:
    url, path, key, first, count, connections = sys.argv[1:]
    people = range(int(first), int(first) + int(count))
    taken = asyncio.run(enrol(url, path, key, people, int(connections)))
    moments, seconds = zip(*taken, strict=True)
    print((len(taken) - 1) / (max(moments) - min(moments)), median(seconds), percentile(seconds, 99))


if __name__ == "__main__":
    main()
