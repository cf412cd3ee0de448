"""Writes every mail in every language, for the eye."""

from pathlib import Path
from typing import Annotated, Final

import typer

from models.words import LOCALES
from workers.cli.edge import REFUSED, command_app, fail
from workers.cli.samples.mails import SAMPLES
from workers.mail.renderer import render

FOLDER: Final = Path("var/preview")
HELP: Final = f"""\
Write every mail in every language, with sample values.

Each is written as .html, and as .txt with its subject; the paths are printed.

Exit codes: 0, {REFUSED} the folder cannot be written, 2 usage.
"""

app = command_app()


@app.command(help=HELP)
def main(
    folder: Annotated[Path, typer.Argument(help="where the files go")] = FOLDER,
) -> None:
    try:
        written = write_mails(folder)
    except OSError as error:
        fail(REFUSED, f"{folder} cannot be written: {error.strerror}")
    for path in written:
        typer.echo(path)


def write_mails(folder: Path) -> list[Path]:
    """Writes the samples; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (kind, context) in SAMPLES.items():
        for locale in LOCALES:
            mail = render(kind, locale, context)
            for suffix, content in (("html", mail.html), ("txt", f"{mail.subject}\n\n{mail.text}")):
                path = folder / f"{name}.{locale}.{suffix}"
                path.write_text(content, encoding="utf-8")
                written.append(path)
    return written
