"""What the demonstration shows while it works."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

Say = Callable[[str], None]
"""Says how far a step is."""


class ProgressLine:
    """One line per step. On a terminal the running one turns and says how far it is."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._began = time.monotonic()
        self.now = ""  # what is being done, for whoever asks why it takes so long

    @contextmanager
    def step(self, what: str) -> Iterator[Say]:
        """Shows what is being done until the block ends; the function given says how far it is."""
        began, self.now = time.monotonic(), what
        if not self._out.is_terminal:
            self._out.print(f"… {what}")
        with self._out.status(Text(what)) as spinner:

            def say(how_far: str) -> None:
                self.now = f"{what}: {how_far}"
                spinner.update(Text(self.now))

            yield say
        took = f" ({time.monotonic() - began:.1f} s)"
        self._out.print(Text.assemble(("✓ ", "green"), what, (took, "dim")))
