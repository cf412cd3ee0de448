"""A Valkey server of one test, which the test makes ill, kills or replaces."""

import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import redis

from scripts.embedded.valkey import server_binary
from tests.kit.processes.support import wait_until


def free_port() -> int:
    """Returns a port of this machine that no program listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class OwnValkey:
    """A server on a port of its own.

    Parameters:
      folder: the folder that this server makes for its data.
      options: words of its command line, such as ``--requirepass``, ``secret``.
    """

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        self.port = free_port()
        self.folder = folder
        self._options = options
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    def start(self) -> "OwnValkey":
        """Starts the server and returns once it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(self._answers, say=(self.folder / "log").read_text)
        except BaseException:
            self.kill()
            raise
        return self

    def _command(self) -> list[str]:
        address = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        return [str(server_binary()), *address, "--save", "", *self._options]

    @property
    def url(self) -> str:
        """The address for a user without a password."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: str) -> redis.Redis:
        """Opens a client."""
        password = self._password or None
        return redis.Redis(port=self.port, password=password, **options)  # type: ignore[arg-type]

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError, redis.TimeoutError), self.client() as opened:
            return bool(opened.ping())
        return False

    def freeze(self) -> None:
        """Makes the server answer nothing any more."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kills the server, also one that did not start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class OwnSentinel(OwnValkey):
    """A sentinel that watches one server under the name `matricule` and promotes its replica after half a second.

    Parameters:
      of: the server.
      password: the password of the server.
    """

    def __init__(self, folder: Path, of: OwnValkey, password: str) -> None:
        super().__init__(folder)
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor matricule 127.0.0.1 {of.port} 1",
            f"sentinel auth-pass matricule {password}",
            "sentinel down-after-milliseconds matricule 500",
            "sentinel failover-timeout matricule 2000",
        ]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [str(server_binary()), str(self.folder / "sentinel.conf"), "--sentinel"]
