"""Runs a sender of webhooks."""

from typing import Final

from workers.cli.edge import COMMON_CODES, check_settings, command_app
from workers.webhooks.sender import run

HELP: Final = f"""Run a sender of webhooks: it tells portals what happened.

Run one or more; they share the work. It runs until SIGTERM or Ctrl-C, and then finishes what is under way, for 15
seconds at most.

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
