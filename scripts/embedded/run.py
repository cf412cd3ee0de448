"""Runs everything on this machine, the embedded parts and the processes of the Procfile, until Ctrl-C.

python -m scripts.embedded.run [--formation clock=2]
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TextIO

from scripts.embedded.mailbox_process import free_port
from scripts.embedded.parts import WEB_HOST, AlreadyRunning, Parts
from scripts.embedded.places import PROJECT, MissingPart, UnsafePlace, default_var
from scripts.embedded.processes import StartFailed
from scripts.embedded.procfile import (
    InvalidProcfile,
    ProcfileLine,
    ReleaseFailed,
    Supervisor,
    parse_formation,
    parse_procfile,
)

PROCFILE = PROJECT / "Procfile"
LOOK_SECONDS = 1.0
SITE_PORT = 8030
EXIT_FAILED, EXIT_ALREADY_RUNNING = 1, 75  # 75 is EX_TEMPFAIL of sysexits.h


class LocalSystem:
    """The parts and the processes of one data folder, as a context manager.

    Parameters:
      var: the data folder; ``MATRICULE_VAR`` or ``var`` in this checkout by default.
      procfile: the processes run in the folder of this file.
      formation: the number of each process by name; 1 if not given.
      durable: see ``Postgres``.
      site: the example portal runs too (``scripts.portal``); its address is `MANAGER_URL`.
      output: the stream for the lines of the processes.
    """

    def __init__(
        self,
        var: Path | None = None,
        *,
        procfile: Path = PROCFILE,
        formation: Mapping[str, int] | None = None,
        durable: bool = True,
        site: bool = False,
        output: TextIO = sys.stdout,
    ) -> None:
        self.parts = Parts(var or default_var(), durable=durable)
        self.supervisor: Supervisor | None = None
        self._procfile, self._formation, self._output = procfile, formation, output
        self._has_tables = procfile.absolute() == PROCFILE  # other Procfiles need not migrate a database
        self._site = _ExamplePortal(self.parts) if site and self._has_tables else None
        self._undo = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the processes: DATABASE_URL, REDIS_URL, MAILBOX_URL, PORT and so on."""
        return self.parts.environment

    def start(self) -> None:
        """Starts the parts, runs `release`, makes the portal `demo`, starts the processes, and returns at once.

        The portal is there before any process is, so that the environment file is complete once the web answers.

        Raises:
          AlreadyRunning, StartFailed, UnsafePlace, MissingPart, InvalidProcfile, ReleaseFailed: everything started
          before is stopped again.
        """
        lines = parse_procfile(self._procfile.read_text())
        with ExitStack() as undo:
            undo.enter_context(self.parts)
            if self._site is not None:
                lines.append(self._site.line())
            self.supervisor = Supervisor(
                lines,
                environment=self.environment,
                formation=self._formation,
                folder=self._procfile.absolute().parent,
                output=self._output,
            )
            undo.callback(self.supervisor.stop)
            self.supervisor.start(self._make_portal if self._has_tables else None)
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Stops the processes, then the parts."""
        self._undo.close()

    def keep(self) -> None:
        """Restarts the parts that die until an exception such as KeyboardInterrupt ends it."""
        never = threading.Event()
        while not never.wait(LOOK_SECONDS):
            for name in self.parts.revive():
                self.say(f"{name} had died and was started again")

    def say(self, text: str) -> None:
        """Writes a whole line between those of the processes, while they run."""
        if self.supervisor is not None:
            self.supervisor.say(text)

    def _make_portal(self) -> None:
        """Makes the portal `demo`, or finds it; its address, its key and its secret join the environment."""
        file = self.parts.var / "portal-demo"
        _make(self.environment, "demo_portal", str(file))
        url = f"http://{WEB_HOST}:{self.environment['PORT']}/v1"
        self.parts.add({"PORTAL_URL": url, **json.loads(file.read_text())})
        self._make_user()
        if self._site is not None:
            self._site.make()

    def _make_user(self) -> None:
        """Makes the user `demo` of the console, or finds it; its name and its password join the environment."""
        file = self.parts.var / "ops-user-demo"
        _make(self.environment, "demo_user", str(file))
        self.parts.add(json.loads(file.read_text()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _ExamplePortal:
    """The site of ``scripts.portal`` as a further process; no Procfile has it, since production needs none."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._file = parts.var / "portal-site"
        self._port = 0

    def line(self) -> ProcfileLine:
        """Returns its line; the port is free at this moment."""
        self._port = free_port(SITE_PORT)
        command = [sys.executable, "-P", "-m", "scripts.portal", str(self._file), "--port", str(self._port)]
        return ProcfileLine("site", f"PYTHONPATH={shlex.quote(str(PROJECT))} {shlex.join(command)}")

    def make(self) -> None:
        """Makes its keys and its settings; its address joins the environment."""
        url = f"http://{WEB_HOST}:{self._port}"
        inbox = self._parts.var / "inbox"
        _make(self._parts.environment, "demo_site", str(self._file), url, str(inbox))
        self._parts.add({"MANAGER_URL": f"{url}/"})


def _make(environment: Mapping[str, str], name: str, *arguments: str) -> None:
    """Runs a module of this package that makes records in the database.

    Raises: StartFailed, with what it said.
    """
    making = [sys.executable, "-P", "-m", f"scripts.embedded.{name}", *arguments]
    said = {**environment, "PYTHONPATH": str(PROJECT)}
    made = subprocess.run(making, env=said, cwd=PROJECT, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise StartFailed(f"{name} could not be made:\n{made.stderr}")


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, without an error.

    Only the first signal counts, so that an impatient second one does not leave half of the processes running.
    """
    stopping = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise KeyboardInterrupt

    # The later signals get a function as well, because children would inherit SIG_IGN.
    earlier = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def run(system: LocalSystem) -> int:
    """Starts everything, prints the addresses, and stays until a signal; returns the exit code."""
    try:
        with stoppable(), system:
            system.say(f"links of the mails open at {system.environment['LINK_BASE_URL']}")
            if "MAILBOX_URL" in system.environment:
                system.say(f"read the mails at {system.environment['MAILBOX_URL']}")
            if "MANAGER_URL" in system.environment:
                system.say(f"Gestion entreprise : {system.environment['MANAGER_URL']}")
            if "OPS_USER" in system.environment:
                place = system.parts.var / "environment"
                system.say(f"console: {system.environment['OPS_URL']}/ops (OPS_USER, OPS_PASSWORD in {place})")
            if "PORTAL_URL" in system.environment:
                system.say(f"the key of the portal demo is PORTAL_KEY in {system.parts.var / 'environment'}")
            system.keep()
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return EXIT_ALREADY_RUNNING
    except (StartFailed, UnsafePlace, MissingPart, InvalidProcfile, ReleaseFailed) as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs everything on this machine until Ctrl-C.")
    parser.add_argument("--formation", default="", help="how many of each process, such as clock=2,web=0")
    parser.add_argument("--procfile", type=Path, default=PROCFILE, help="default: the one of this checkout")
    parser.add_argument("--var", type=Path, default=None, help="data folder (default: MATRICULE_VAR, or var here)")
    asked = parser.parse_args()
    try:
        formation = parse_formation(asked.formation)
    except InvalidProcfile as error:
        parser.error(str(error))
    if not asked.procfile.is_file():
        parser.error(f"there is no file {asked.procfile}")
    return run(LocalSystem(asked.var, procfile=asked.procfile, formation=formation, site=True))


if __name__ == "__main__":
    sys.exit(main())
