"""Runs the site on this machine alone.

python -m scripts.portal SETTINGS [--host 127.0.0.1] [--port 8030]

SETTINGS is the file of settings.py. Anyone who reaches the site signs in with one click, so an address that other
machines reach is refused.
"""

import argparse
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import uvicorn

from scripts.portal.app import make_app
from scripts.portal.settings import SiteSettings, read_settings
from scripts.portal.texts import IncompleteTexts

WRONG_USE: Final = 2
FAILED: Final = 1

STOP_SECONDS: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.portal", description="Runs the example portal.")
    parser.add_argument("settings", type=Path, help="the file of its settings, with the keys")
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine alone (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8030, help="default: 8030")
    asked = parser.parse_args(arguments)
    if not is_loopback(asked.host):
        print(
            f"{asked.host} is refused: anyone signs in here with one click, so only 127.0.0.1 or ::1", file=sys.stderr
        )
        return WRONG_USE
    try:
        settings = read_settings(asked.settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{asked.settings} cannot be read: {type(error).__name__}", file=sys.stderr)
        return FAILED
    return serve(settings, asked.host, asked.port)


def is_loopback(host: str) -> bool:
    """Tells whether an address belongs to this machine alone; a name does not say so."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def serve(settings: SiteSettings, host: str, port: int) -> int:
    """Serves until a signal; returns the exit code."""
    try:
        app = make_app(settings)
    except IncompleteTexts as error:
        print(error, file=sys.stderr)
        return FAILED
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else FAILED


if __name__ == "__main__":
    sys.exit(main())
