"""A client that drops files into an inbox, as a company's HR software does."""

import random
import subprocess
import sys
import threading
import time
from typing import Final

from scripts.embedded.places import PROJECT
from tests.chaos.harness.system import PORTAL, ChaosSystem

CONTRACT: Final = "F-0"
HEADER: Final = "Nom;Prénom;E-mail\r\n"
MOST_ROWS: Final = 300


def watch_inbox(system: ChaosSystem) -> None:
    """Sets the folder of the run up as an inbox."""
    words = ("put", "rh", "--contract", CONTRACT, "--portal", PORTAL, "--url", f"file://{system.inbox}")
    subprocess.run(
        [sys.executable, "-m", "workers.cli", "inbox", *words],
        cwd=PROJECT,
        env=system.environment,
        check=True,
        capture_output=True,
    )


class FileClient:
    """Drops files for a while.

    Parameters:
      seconds: how long it drops files; each takes minutes until it is put away.
    """

    def __init__(self, system: ChaosSystem, chances: random.Random, *, seconds: float) -> None:
        self.system = system
        self.chances = chances
        self.seconds = seconds

    def run(self) -> None:
        pause, until = threading.Event(), time.monotonic() + self.seconds
        number = 0
        while time.monotonic() < until:
            self._drop(number)
            number += 1
            pause.wait(self.chances.uniform(10.0, 40.0))

    def _drop(self, number: int) -> None:
        """Writes a file beside the folder and moves it in, so that it is never seen half-written."""
        addresses = [f"f{number}.p{place}@example.com" for place in range(self.chances.randint(1, MOST_ROWS))]
        lines = [f"Lorval;Perle;{address}\r\n" for address in addresses]
        name = f"liste-{number}.csv"
        draft = self.system.folder / name
        draft.write_text(HEADER + "".join(lines), "utf-8", newline="")
        self.system.history.add("dropped", name=name, contract=CONTRACT, addresses=addresses)
        draft.rename(self.system.inbox / name)
