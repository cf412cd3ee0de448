"""Shows the progress of the demonstration."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

Say = Callable[[str], None]
"""A function that shows the progress of a step."""


class ProgressLine:
    """Shows one line for each step. On a terminal the current line turns and shows the progress."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._began = time.monotonic()
        self.now = ""  # the current step, for the error message of a run that takes too long

    def tell(self, text: Text) -> None:
        """Writes a line that stays."""
        self._out.print(text, soft_wrap=True)

    @contextmanager
    def step(self, what: str) -> Iterator[Say]:
        """Shows a step until the block ends; the yielded function shows its progress."""
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
