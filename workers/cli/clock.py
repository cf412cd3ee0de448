"""Runs a clock."""

from typing import Final

from workers.cli.edge import COMMON_CODES, check_settings, command_app
from workers.clock import run

HELP: Final = f"""Run a clock: it wakes what is due and fires the schedules.

It also takes back what a dead worker held. Run two, on two hosts: one leads, the other takes over within five seconds.
It runs until SIGTERM or Ctrl-C.

\b
Exit codes:
   0  stopped by a signal
   2  wrong use of the command
{COMMON_CODES}
"""

app = command_app()


@app.command(help=HELP)
def main() -> None:
    check_settings()
    run()
