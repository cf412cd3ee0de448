"""scripts/preview: every mail in every language, for the eye."""

from pathlib import Path
from typing import Annotated, Final

import typer

from models.words import LOCALES
from workers.cli.edge import REFUSED, fail, run
from workers.cli.samples.mails import SAMPLES
from workers.mail.renderer import render

FOLDER: Final = Path(__file__).resolve().parents[2] / "var" / "preview"
HELP: Final = f"""\
Writes every mail in every language, with sample values, as .html and as .txt with its subject; prints the paths.

Exit codes: 0, {REFUSED} the folder cannot be written, 2 usage.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def main(
    folder: Annotated[Path, typer.Argument(help="where the files go", show_default="var/preview")] = FOLDER,
) -> None:
    """The command."""
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


if __name__ == "__main__":
    run(app, "preview")
