"""Writes a backup: the database as of one moment, and the documents of a store that is a folder."""

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from workers.cli.asking import asker
from workers.cli.edge import COMMON_CODES, INVALID, UNAVAILABLE, command_app, edge, fail, tidy_end
from workers.ops.backup import BackupContent, write_backup
from workers.ops.dumping import DumpFailed

HELP: Final = f"""Write a backup of the database and the documents.

Everything goes on meanwhile. FILE is made with mode 0600 and never written over; - is standard output. It is a tar
file with a dump of pg_dump (custom format, of one moment) and, when CERTIFICATE_STORE is a folder, its documents;
another store is backed up by its own means. pg_dump of the server's version or newer must be on the PATH (Debian:
postgresql-client), or beside the embedded server. The dump is written beside FILE first, for - in TMPDIR: twice its
size is needed meanwhile.

It holds personal data, and not the keys of the settings (LINK_KEYS, PORTAL_KEYS): keep those elsewhere, links and
portals need them after a restore. The audit trail keeps your name.

\b
Exit codes:
   0  written
   2  wrong use of the command
  65  FILE is there, or cannot be written
{COMMON_CODES},
      or pg_dump is missing or failed
"""

app = command_app()


@app.command(help=HELP)
def main(file: Annotated[Path, typer.Argument(metavar="FILE", help="to write; - for standard output")]) -> None:
    with edge(), tidy_end():
        content = _to_output() if str(file) == "-" else _to_file(file)
    held = "elsewhere" if content.documents is None else content.documents
    print(f"backup of {content.taken_at:%Y-%m-%d %H:%M:%S} UTC, documents: {held}", file=sys.stderr)


def _to_output() -> BackupContent:
    try:
        return write_backup(sys.stdout.buffer, Path(tempfile.gettempdir()), requested_by=asker())
    except DumpFailed as failed:
        fail(UNAVAILABLE, str(failed))


def _to_file(file: Path) -> BackupContent:
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(INVALID, f"{file} cannot be written: {error.strerror}")
    whole = False
    try:
        with os.fdopen(opened, "wb") as output:
            content = write_backup(output, file.absolute().parent, requested_by=asker())
            output.flush()
            os.fsync(output.fileno())
        whole = True
    except DumpFailed as failed:
        fail(UNAVAILABLE, str(failed))
    finally:
        if not whole:
            with suppress(FileNotFoundError):
                file.unlink()
    return content
