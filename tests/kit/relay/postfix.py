"""A real Postfix of a test's own, set up as an operator may have set it up wrongly; what it accepts it throws away."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.kit.processes.support import wait_until
from tests.kit.system import need

SERVICES: Final = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""

USUAL: Final = {
    "compatibility_level": "3.6",
    "myhostname": "relay.formation.test",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "default_transport": "discard:",
    "alias_maps": "",
    "smtpd_use_tls": "no",
    "inet_protocols": "ipv4",
    "smtpd_peername_lookup": "no",
    "smtp_dns_support_level": "disabled",
    "queue_minfree": "0",
}


RELOADED: Final = "reload -- version"


class Postfix:
    """A Postfix that runs; `configure` gives it other settings, as after `postfix reload`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=off"

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text() if (self.folder / "log").exists() else ""

    def configure(self, **settings: str) -> None:
        """Writes the settings of main.cf anew; every server that answers after this call has read them.

        `postfix reload` returns before the master acts on it, and a server that waits for a client may take one more
        with the settings from before.
        """
        reloads, former = self.log.count(RELOADED), self._servers()
        self._write(settings)
        self.do("reload")
        wait_until(lambda: self.log.count(RELOADED) > reloads and not former & self._servers(), say=lambda: self.log)

    def do(self, action: str) -> None:
        done = subprocess.run(
            ["postfix", "-c", str(self.folder / "etc"), action], capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, done.stderr + self.log

    def _servers(self) -> set[str]:
        """Returns the process ids of what the master has started."""
        master = (self.folder / "queue" / "pid" / "master.pid").read_text().strip()
        return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())

    def start(self, settings: Mapping[str, str]) -> None:
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir(parents=True)
        shutil.chown(self.folder / "data", "postfix")
        (self.folder / "etc" / "master.cf").write_text(SERVICES.format(port=self.port))
        self._write(settings)
        self.do("start")

    def _write(self, settings: Mapping[str, str]) -> None:
        places = {
            "queue_directory": f"{self.folder}/queue",
            "data_directory": f"{self.folder}/data",
            "maillog_file": f"{self.folder}/log",
            "maillog_file_prefixes": str(self.folder),
        }
        lines = [f"{name} = {value}" for name, value in (USUAL | places | dict(settings)).items()]
        written = self.folder / "etc" / "main.cf.new"
        written.write_text("\n".join(lines) + "\n")
        written.replace(self.folder / "etc" / "main.cf")  # a process that starts now reads one of both, whole


@contextmanager
def postfix(folder: Path, **settings: str) -> Iterator[Postfix]:
    """Runs a Postfix with these settings of main.cf, on a port of its own; only root may start one."""
    need("postfix")
    if os.geteuid() != 0 and "MATRICULE_CI" not in os.environ:
        pytest.skip("only root can start a Postfix")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Postfix(folder, port)
    server.start(settings)
    try:
        yield server
    finally:
        server.do("stop")
