"""A relay that accepts every mail as fast as Python reads and does nothing with it, in a separate process.

python -m tests.benchmarks.sink PORT_FILE [MAILS_FILE]; with the second file it keeps the mails, one pickle each.
"""

import asyncio
import pickle
import sys
from pathlib import Path
from typing import IO, Final

END: Final = b"\r\n.\r\n"
ANSWERS: Final = {
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"MAIL": b"250 OK\r\n",
    b"RCPT": b"250 OK\r\n",
    b"DATA": b"354 Go ahead\r\n",
    b"RSET": b"250 OK\r\n",
    b"NOOP": b"250 OK\r\n",
    b"QUIT": b"221 Bye\r\n",
}


class Session(asyncio.Protocol):
    """The connection of one client.

    Parameters:
      keep: the file for the mails, or None.
    """

    def __init__(self, keep: IO[bytes] | None) -> None:
        self.keep = keep
        self.received = bytearray()
        self.in_data = False
        self.envelope: list[str] = []
        self.answers: list[bytes] = []
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.received += data
        while self._mail() if self.in_data else self._command():
            pass
        self.transport.write(b"".join(self.answers))  # commands that came together are answered together
        self.answers.clear()
        if self.ended:
            self.transport.close()

    def _mail(self) -> bool:
        end = self.received.find(END)
        if end < 0:
            return False
        content = bytes(self.received[: end + 2])
        del self.received[: end + len(END)]
        self.in_data = False
        if self.keep is not None:
            pickle.dump((*self.envelope, content), self.keep)
            self.keep.flush()
        self.answers.append(b"250 2.0.0 taken\r\n")
        return True

    def _command(self) -> bool:
        end = self.received.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self.received[:end])
        del self.received[: end + 2]
        word = line[:4].upper()
        if word == b"MAIL":
            self.envelope = [_address(line)]
        elif word == b"RCPT":
            self.envelope.append(_address(line))
        self.in_data = word == b"DATA"
        self.answers.append(ANSWERS.get(word, b"502 Unknown\r\n"))
        self.ended = word == b"QUIT"
        return not self.ended


def _address(line: bytes) -> str:
    return line.partition(b"<")[2].partition(b">")[0].decode()


async def serve(port_file: Path, mails_file: Path | None) -> None:
    """Serves until it is killed; writes the port to the file once it listens."""
    keep = mails_file.open("wb") if mails_file else None
    server = await asyncio.get_running_loop().create_server(lambda: Session(keep), "127.0.0.1", 0)
    draft = port_file.with_suffix(".draft")
    draft.write_text(str(server.sockets[0].getsockname()[1]))
    draft.rename(port_file)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
