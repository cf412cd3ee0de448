"""Runs the web process."""

from typing import Final

from workers.cli.edge import COMMON_CODES, check_settings, command_app
from workers.web.app import run

HELP: Final = f"""Serve the pages that the links in mails open.

It listens at HOST and PORT (127.0.0.1 and 8020 by default) until SIGTERM or Ctrl-C; a reverse proxy ends TLS before it.
GET /livez answers 200 when it is alive, /readyz when its database takes writes and has
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
