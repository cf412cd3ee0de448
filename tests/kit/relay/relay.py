"""A mail relay that answers as its script says and keeps every mail: the only double in the tests of the mailer."""

import re
import socketserver
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import BinaryIO, Self, cast

DROP, HANG = "drop", "hang"

USUAL = {"EHLO": "250-relay.test\r\n250 PIPELINING", "DATA": "354 go on", "QUIT": "221 bye"}

_ADDRESS = re.compile(r"<(.*)>")


@dataclass(frozen=True)
class Mail:
    """One mail that the relay read to the end, with its answer (DROP if it closed the connection instead)."""

    recipients: tuple[str, ...]
    message: EmailMessage
    answer: str

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    def _part(self, subtype: str) -> str:
        part = self.message.get_body((subtype,))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")


@dataclass
class Relay:
    """A relay that listens inside `with`; `stop` and `start` take it away and bring it back on the same port.

    Parameters:
      script: answers by step (`GREETING`, `EHLO`, `MAIL`, `RCPT`, `DATA`, `BODY`) or by step and recipient (`RCPT
        a@b.fr`); each is given once, before the usual answer.
      always: answers given every time.
      room: number of bodies still to answer; later bodies are held until `admit`. None answers all.
      holding: number of bodies held now.
      takes: number of connections it serves at a time; it refuses further ones. None serves all.
      refused: number of connections it has refused.
    """

    script: dict[str, list[str]] = field(default_factory=dict)
    always: dict[str, str] = field(default_factory=dict)
    room: int | None = None
    holding: int = 0
    mails: list[Mail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    most_open: int = 0
    takes: int | None = None
    refused: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self._gate = threading.Condition()
        self.open: set[socket] = set()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=off"

    def start(self) -> None:
        self.go_on.clear()
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuses new connections and ends the open ones."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.socket.close()
        self.go_on.set()
        self.admit(None)
        with self.lock:
            for one in self.open:
                with suppress(OSError):  # the client went
                    one.shutdown(SHUT_RDWR)
        server.server_close()

    def got(self) -> Counter[str]:
        """Counts the mails by Message-ID."""
        return Counter(mail.id for mail in list(self.mails))

    def to(self, recipient: str) -> list[Mail]:
        return [mail for mail in list(self.mails) if recipient in mail.recipients]

    def admit(self, room: int | None) -> None:
        """Answers this many more bodies, held ones first, and holds the others; None answers all."""
        with self._gate:
            self.room = room
            self._gate.notify_all()

    def took_all(self) -> bool:
        """Answers the bodies held now; true once none is. What a dead client had sent may still be on its way."""
        with self._gate:
            if held := self.holding:
                self.room = held
                self._gate.notify_all()
            return held == 0

    def keep(self, mail: Mail) -> None:
        """Keeps a mail that was read to the end."""
        self.mails.append(mail)

    def hold(self) -> None:
        """Waits until there is room for one more body."""
        with self._gate:
            self.holding += 1
            self._gate.wait_for(lambda: self.room is None or self.room > 0, timeout=30)
            self.holding -= 1
            if self.room:
                self.room -= 1

    def answer(self, step: str, recipients: list[str], usual: str) -> str:
        """Returns the answer to a step; a hang ends with the usual answer once `go_on` is set."""
        keys = [*(f"{step} {recipient}" for recipient in recipients), step]
        with self.lock:
            planned = next((self.script[key].pop(0) for key in keys if self.script.get(key)), None)
        planned = planned or next((self.always[key] for key in keys if key in self.always), usual)
        if planned != HANG:
            return planned
        self.hanging.set()
        self.go_on.wait(30)
        return usual


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], relay: Relay) -> None:
        self.relay = relay
        super().__init__(address, _Session)


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        relay = cast("_Server", self.server).relay
        with relay.lock:
            full = relay.takes is not None and len(relay.open) >= relay.takes
            if full:
                relay.refused += 1
            else:
                relay.open.add(self.connection)
            relay.most_open = max(relay.most_open, len(relay.open))
        if full:
            self._say("421 4.7.0 relay.test Error: too many connections from 127.0.0.1")
            return
        try:
            self._talk(relay, cast("BinaryIO", self.rfile))
        except OSError:
            pass  # the client closed the connection
        finally:
            with relay.lock:
                relay.open.discard(self.connection)

    def finish(self) -> None:
        with suppress(OSError):  # the client closed the connection
            super().finish()

    def _talk(self, relay: Relay, lines: BinaryIO) -> None:
        recipients: list[str] = []
        steps: dict[str, Callable[[str], None]] = {
            "MAIL": lambda _: recipients.clear(),
            "RSET": lambda _: recipients.clear(),
        }
        go_on = self._say(relay.answer("GREETING", [], "220 relay.test"))
        while go_on and (line := lines.readline()):
            command = line.decode().strip()
            relay.commands.append(command)
            verb = command[:4].upper()
            steps.get(verb, str)(command)
            if verb == "RCPT":
                recipients.append(_ADDRESS.findall(command)[0])
            answer = relay.answer(verb, recipients, USUAL.get(verb, "250 2.0.0 ok"))
            go_on = self._say(answer)
            if answer.startswith("354"):
                go_on = self._take(relay, lines, recipients)

    def _take(self, relay: Relay, lines: BinaryIO, recipients: list[str]) -> bool:
        body = b""
        while not body.endswith(b"\r\n.\r\n"):
            line = lines.readline()
            if not line:
                return False
            body += line
        message = message_from_bytes(body[:-3].replace(b"\r\n..", b"\r\n."), _class=EmailMessage, policy=policy.SMTP)
        relay.hold()
        answer = relay.answer("BODY", recipients, f"250 2.0.0 queued as Q{len(relay.mails)}")
        relay.keep(Mail(tuple(recipients), message, answer))
        return self._say(answer)

    def _say(self, answer: str) -> bool:
        if answer == DROP:
            return False
        self.wfile.write(answer.encode() + b"\r\n")
        return not answer.startswith(("421", "221", "554 greeting"))
