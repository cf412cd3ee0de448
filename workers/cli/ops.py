"""Runs the process for operators."""

from typing import Final

from workers.cli.edge import COMMON_CODES, check_settings, command_app
from workers.console.app import run

HELP: Final = f"""Serve the console and metrics to operators.

It listens on a port of its own, OPS_HOST and OPS_PORT (127.0.0.1 and 8021 by default), until SIGTERM or Ctrl-C, and is
not meant for the public. The console is at /ops, and is closed until `matricule ops-user add` made a user. GET /metrics
answers in the text format of Prometheus, also while the database does not; it asks for Authorization: Bearer
METRICS_TOKEN when that is set. GET /livez answers 200 when it is alive, /readyz when its database takes writes and has
the tables of this release.

\b
Exit codes:
   0  stopped by a signal
   1  it cannot listen there
   2  wrong use of the command
{COMMON_CODES}
"""

app = command_app()


@app.command(help=HELP)
def main() -> None:
    check_settings()
    run()
