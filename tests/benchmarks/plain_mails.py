"""The limit of mails: aiosmtplib alone, on open connections, with mails made before, in a separate process.

python -m tests.benchmarks.plain_mails PORT MAILS_FILE SHARE SHARES CONNECTIONS GO_FILE prints when the first mail was
accepted and when the last, in seconds. It connects and then waits for GO_FILE, so that all processes begin together.
"""

import asyncio
import pickle
import sys
import time
from collections import deque
from pathlib import Path

from aiosmtplib import SMTP

Mail = tuple[str, str, bytes]


def read_mails(file: Path) -> list[Mail]:
    """Reads the mails that a sink kept: sender, recipient, content."""
    mails: list[Mail] = []
    with file.open("rb") as kept:
        while True:
            try:
                mails.append(pickle.load(kept))
            except EOFError:
                return mails


async def send(port: int, mails: deque[Mail], connections: int, go: Path, ready: Path) -> list[float]:
    """Sends the mails over this many connections; returns when each was accepted."""
    clients = [
        SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="bench.example")
        for _ in range(connections)
    ]
    for client in clients:
        await client.connect()
        await client.ehlo()
    await asyncio.to_thread(wait_for, go, ready)
    taken: list[float] = []

    async def work(client: SMTP) -> None:
        while mails:
            sender, recipient, content = mails.popleft()
            await client.sendmail(sender, [recipient], content)
            taken.append(time.time())

    await asyncio.gather(*map(work, clients))
    for client in clients:
        client.close()
    return taken


def wait_for(go: Path, ready: Path) -> None:
    """Says that this process is ready, and returns once the other file is there."""
    ready.touch()
    while not go.exists():
        time.sleep(0.002)


def main() -> None:
    port, file, share, shares, connections, go = sys.argv[1:]
    mails = deque(read_mails(Path(file))[int(share) :: int(shares)])
    ready = Path(f"{go}.{share}")
    taken = asyncio.run(send(int(port), mails, int(connections), Path(go), ready))
    print(min(taken), max(taken))


if __name__ == "__main__":
    main()
