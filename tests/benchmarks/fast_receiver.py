"""A receiver of webhooks that does nothing but answer 204, in a separate process.

python -m tests.benchmarks.fast_receiver PORT_FILE writes its port to the file and answers until it is stopped.
"""

import asyncio
import sys
from pathlib import Path

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiving(asyncio.Protocol):
    """One connection; it counts the bytes of bodies, and answers at the end of each."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end].lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            if len(self.waiting) < end + 4 + length:
                return
            self.waiting = self.waiting[end + 4 + length :]
            self.transport.write(ANSWER)


async def receive(port_file: Path) -> None:
    """Answers until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Receiving, "127.0.0.1", 0)
    draft = port_file.with_suffix(".draft")
    draft.write_text(str(server.sockets[0].getsockname()[1]))
    draft.rename(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(receive(Path(sys.argv[1])))
