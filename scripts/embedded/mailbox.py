"""A local mailbox that receives the application's mails by SMTP and shows them on a web page of this machine.

python -m scripts.embedded.mailbox --folder var/mailbox --smtp-port 8025 --web-port 8026
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
from pathlib import Path

import uvicorn

from scripts.embedded.mail_folder import MailFolder
from scripts.embedded.mailbox_page import mailbox_app
from scripts.embedded.mailbox_smtp import session

HOST = "127.0.0.1"
PORTS_FILE = "ports.json"


async def serve(folder: Path, smtp_port: int, web_port: int) -> None:
    """Serves SMTP and the page until SIGINT or SIGTERM; writes the ports to `<folder>/ports.json` once both listen."""
    mails = MailFolder(folder)
    ports_file = folder / PORTS_FILE
    ports_file.unlink(missing_ok=True)
    listener = socket.create_server((HOST, web_port))
    web = uvicorn.Server(uvicorn.Config(mailbox_app(mails), log_level="warning", access_log=False, lifespan="off"))
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn handles these signals while it serves, then raises them again; this handler absorbs the second one.
        asyncio.get_running_loop().add_signal_handler(number, setattr, web, "should_exit", True)
    smtp = await asyncio.get_running_loop().create_server(lambda: session(mails), HOST, smtp_port, backlog=512)
    async with smtp:
        ports = {"smtp": smtp.sockets[0].getsockname()[1], "web": listener.getsockname()[1], "pid": os.getpid()}
        write_ports(ports_file, ports)
        await web.serve(sockets=[listener])
    ports_file.unlink(missing_ok=True)


def write_ports(path: Path, ports: dict[str, int]) -> None:
    """Writes the ports in one step, so that a process which waits for the file never reads half of it."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(ports))
    draft.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="A local mailbox with a web page.")
    parser.add_argument("--folder", type=Path, default=Path("var/mailbox"))
    parser.add_argument("--smtp-port", type=int, default=8025, help="0 for any free port")
    parser.add_argument("--web-port", type=int, default=8026, help="0 for any free port")
    asked = parser.parse_args()
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    asyncio.run(serve(asked.folder, asked.smtp_port, asked.web_port))


if __name__ == "__main__":
    main()
