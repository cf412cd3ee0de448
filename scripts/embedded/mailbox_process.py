"""The local mailbox runs as a separate process, which starts and stops like the servers."""

import json
import signal
import socket
import sys
from pathlib import Path

from scripts.embedded import processes
from scripts.embedded.mailbox import HOST, PORTS_FILE
from scripts.embedded.part import Part
from scripts.embedded.places import Places

PROJECT = Path(__file__).parents[2]
READY_SECONDS = 30.0


def free_port(preferred: int) -> int:
    """Returns the preferred port of 127.0.0.1, or any free port when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Mailbox(Part):
    """The mailbox of one data folder; its mails stay in `<var>/mailbox`.

    Parameters:
      places: its folders (``places.places(var)``).
      smtp_port, web_port: the ports to take if they are free; a restart keeps the ports of the first start.
    """

    stop_signals = ((signal.SIGTERM, 10.0),)

    def __init__(self, places: Places, *, smtp_port: int = 8025, web_port: int = 8026) -> None:
        super().__init__()
        self.folder = places.var / "mailbox"
        self._ports = {"smtp": smtp_port, "web": web_port}
        self._log = places.var / "mailbox.log"
        self._pid_file = places.short / "mailbox.pid"

    def start(self) -> None:
        """Stops a mailbox left by a killed parent, starts this one, and returns when both ports listen.

        Raises:
          StartFailed: it ended, or was not ready in time; the error carries the end of its log.
        """
        left = processes.leftover(self._pid_file, "python", str(self.folder))
        if left is not None:
            processes.end_leftover(left, self.stop_signals)
        with self._log.open("ab") as log:
            process = self._process = processes.spawn(self._command(), stop=signal.SIGTERM, output=log, folder=PROJECT)
        self._pid_file.write_text(str(process.pid))
        processes.wait_until(lambda: process.poll() is not None or self._ready(process.pid), READY_SECONDS)
        if process.poll() is not None or not self._ready(process.pid):
            self.kill()
            raise processes.StartFailed(
                f"the mailbox did not start; the end of {self._log}:\n{processes.log_tail(self._log)}"
            )

    @property
    def smtp_url(self) -> str:
        """The value of the setting SMTP_URL."""
        return f"smtp://{HOST}:{self._ports['smtp']}?tls=off"

    @property
    def url(self) -> str:
        """The address of its web page."""
        return f"http://{HOST}:{self._ports['web']}"

    def _command(self) -> list[str]:
        ports = [free_port(self._ports["smtp"]), free_port(self._ports["web"])]
        return [
            *(sys.executable, "-m", "scripts.embedded.mailbox"),
            *("--folder", str(self.folder)),
            *("--smtp-port", str(ports[0])),
            *("--web-port", str(ports[1])),
        ]

    def _ready(self, pid: int) -> bool:
        try:
            ports = json.loads((self.folder / PORTS_FILE).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return False
        if ports["pid"] != pid:
            return False
        self._ports = {"smtp": ports["smtp"], "web": ports["web"]}
        return True
