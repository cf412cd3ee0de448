"""Carries SMTP commands and replies over an open connection, two commands at once where the relay allows it (RFC 2920).

aiosmtplib opens the connection: greeting, TLS, EHLO and login are its part. Its protocol awaits each reply before the
next command and costs three times the CPU of this one, so `SmtpPipeline` takes the transport over for the mails.

Replies belong to commands by their order alone. So a reply that no command waits for, or that is no SMTP, ends the
connection: the next mail would take the answer to another command for its own.
"""

import asyncio
from collections import deque
from typing import Final

from aiosmtplib import SMTP, SMTPReadTimeoutError, SMTPResponse, SMTPResponseException, SMTPServerDisconnected

LONGEST_REPLY: Final = 32_768
"""Bytes of a reply with all its lines; a longer one ends the connection. A long reply to EHLO has a few thousand."""

CLOSING: Final = 421
"""The only reply that a relay may send without a command (RFC 5321, 3.8): it closes the connection."""

SENT_AT_ONCE: Final = 16_000
"""Bytes that the system takes from this process at once, however slowly the relay reads: an empty send buffer of Linux
has room for 16 kB at least (`net.ipv4.tcp_wmem`)."""

GARBLED: Final = -1
"""The code of bytes that are no reply, as aiosmtplib has it."""

_NO_LINE_ENDS: Final = bytes(set(range(256)) - set(b"\r\n"))


class SmtpPipeline(asyncio.Protocol):
    """An open connection: `write` sends commands, and each `reply` returns the next answer in their order.

    Parameters:
      transport: the connection; from here on only this object reads from it and writes to it.
      pipelining: whether several commands may be sent before their replies have come.
      offers_dsn: whether the relay lets a mail say what a report about it shall bring back (RFC 3461).
    """

    def __init__(self, transport: asyncio.Transport, *, pipelining: bool, offers_dsn: bool = False) -> None:
        self.pipelining = pipelining
        self.offers_dsn = offers_dsn
        self._transport = transport
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        self._written = 0  # bytes of the last write
        self._loop = asyncio.get_running_loop()
        self._owed = 0  # replies that the relay has not sent yet
        self._replies: deque[SMTPResponse] = deque()  # those that nobody has read yet
        self._lines: list[bytes] = []  # of the reply that is being received
        self._length = 0  # of these lines
        self._rest = b""  # of a line
        self._waiter: asyncio.Future[None] | None = None
        self._late_at = 0.0  # when the reply that is waited for is late, on the clock of the loop
        self._alarm: asyncio.TimerHandle | None = None  # rings by then at the latest
        self._end: Exception | None = None
        transport.set_protocol(self)

    @classmethod
    def take_over(cls, client: SMTP, *, one_by_one: bool = False) -> "SmtpPipeline":
        """Takes the connection of a client that is ready for mails; the client is of no use afterwards.

        Parameters:
          one_by_one: uses no pipelining, also if the relay offers it.

        Raises: SMTPServerDisconnected.
        """
        transport = client.transport
        if not isinstance(transport, asyncio.Transport):
            raise SMTPServerDisconnected("Connection lost")
        pipelining = client.supports_extension("pipelining") and not one_by_one
        return cls(transport, pipelining=pipelining, offers_dsn=client.supports_extension("dsn"))

    @property
    def is_open(self) -> bool:
        """Tells whether the connection is open, as far as this side knows."""
        return self._end is None and not self._transport.is_closing()

    @property
    def awaits_reply(self) -> bool:
        """Tells whether a command was written and its reply was not read yet."""
        return self._owed > 0 or bool(self._replies)

    @property
    def may_have_unsent(self) -> bool:
        """Tells whether bytes of the last write may wait for the network still.

        Under TLS only a short write is known to have left: asyncio shows the buffer before encryption, which is empty
        at once, and hides the one behind it.
        """
        hidden = self._encrypted and self._written > SENT_AT_ONCE
        return hidden or self._transport.get_write_buffer_size() > 0

    def write(self, data: bytes, replies: int = 1) -> None:
        """Sends commands, or a message, that the relay answers with this many replies; nothing is sent if it raises.

        Raises: the error that ended the connection.
        """
        if not self.is_open:
            raise self._end or SMTPServerDisconnected("Connection lost")
        self._owed += replies
        self._written = len(data)
        self._transport.write(data)

    async def reply(self, seconds: float) -> SMTPResponse:
        """Returns the next reply, also one that came before the connection ended.

        Raises: the error that ended the connection; a reply that did not come in time is one.
        """
        if not self._replies:
            await self._arrival(seconds)
        return self._replies.popleft()

    async def ask(self, command: bytes, seconds: float) -> SMTPResponse:
        """Sends one command and returns the reply to it; as `write` and `reply`."""
        self.write(command)
        return await self.reply(seconds)

    def close(self) -> None:
        """Drops the connection at once, without a QUIT; bytes that were not written yet are discarded."""
        self._give_up(SMTPServerDisconnected("Connection closed"))

    async def _arrival(self, seconds: float) -> None:
        if self._end is None:
            self._waiter = self._loop.create_future()
            self._late_at = self._loop.time() + seconds
            if self._alarm is None or self._alarm.when() > self._late_at:
                self._set_alarm(self._late_at)
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._replies:
            raise self._end or SMTPServerDisconnected("Connection lost")

    def data_received(self, data: bytes) -> None:
        """Keeps the replies that are complete with these bytes; they may end anywhere, in a line as well."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._end is not None:
                return
            self._take(line)
        if self._length + len(self._rest) > LONGEST_REPLY:
            self._give_up(SMTPResponseException(GARBLED, "Response too long"))
        elif self._replies:
            self._wake()

    def _take(self, line: bytes) -> None:
        """Adds a line to the reply; the last one completes it, and its code counts, as with aiosmtplib."""
        code = line[:3]
        self._lines.append(line[4:].strip())
        self._length += len(line)
        if self._length > LONGEST_REPLY:
            return
        if not code.isdigit():
            self._give_up(SMTPResponseException(GARBLED, f"Malformed SMTP response line: {_text([line])}"))
        elif line[3:4] != b"-":
            self._complete(int(code), _text(self._lines))
            self._lines, self._length = [], 0

    def _complete(self, code: int, text: str) -> None:
        if self._owed:
            self._owed -= 1
            self._replies.append(SMTPResponse(code, text))
        elif code == CLOSING:
            self._give_up(SMTPResponseException(code, text))
        else:
            self._give_up(SMTPResponseException(GARBLED, f"Reply to no command: {code} {text}"))

    def eof_received(self) -> None:
        """Ends the connection: a relay that sends nothing more can accept no mail."""
        self._give_up(SMTPServerDisconnected("Unexpected EOF received"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the connection; the error tells whether TLS was at fault."""
        lost = SMTPServerDisconnected("Connection lost")
        lost.__cause__ = exc
        self._give_up(lost)

    def _set_alarm(self, at: float | None) -> None:
        """Sets the alarm that looks whether a reply is late; the one before ends, and with None there is none.

        One alarm lasts for many replies: a timer for each would cost as much as reading it.
        """
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if at is None else self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None:
            return
        if self._loop.time() < self._late_at:  # it was set for an earlier reply
            self._set_alarm(self._late_at)
        else:
            self._give_up(SMTPReadTimeoutError("Timed out waiting for server response"))

    def _give_up(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            self._set_alarm(None)
            self._transport.abort()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _text(lines: list[bytes]) -> str:
    return b"\n".join(lines).decode("utf-8", "surrogateescape")


def framed(message: bytes) -> bytes:
    """Returns a message as it travels after DATA: CRLF lines, leading dots doubled, a dot at the end (RFC 5321, 4.5.2).

    A lone CR or LF becomes CRLF. Some servers take it for the end of a line: a text could end the mail for them, and
    what follows it would be a mail by a stranger (SMTP smuggling).
    """
    ends = message.translate(None, _NO_LINE_ENDS)
    if len(ends) != 2 * message.count(b"\r\n"):
        message = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    dot = b"." if message.startswith(b".") else b""
    return dot + message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
