"""Writes sample certificates in every layout and language, for the eye."""

import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from models.document import Document
from models.words import LOCALES
from workers.cli.edge import REFUSED, command_app, fail
from workers.cli.samples.certificates import LOGOS, MOMENT, SAMPLES
from workers.documents.renderer import render

FOLDER: Final = Path("var/preview/certificates")
HELP: Final = f"""\
Write sample certificates as PDF and PNG.

They are in every layout and language; the PNG needs pdftoppm (of the package poppler-utils). The paths of the PDFs are
printed.

Exit codes: 0, {REFUSED} the folder cannot be written, 2 usage.
"""

app = command_app()


@app.command(help=HELP)
def main(
    folder: Annotated[Path, typer.Argument(help="where the files go")] = FOLDER,
    only: Annotated[list[str] | None, typer.Option(metavar="SAMPLE", help=f"some of: {', '.join(SAMPLES)}")] = None,
) -> None:
    if unknown := set(only or ()) - set(SAMPLES):
        raise typer.BadParameter(f"no sample is called {', '.join(sorted(unknown))}", param_hint="--only")
    try:
        for file in write_certificates(folder, only or SAMPLES):
            typer.echo(file)
    except BrokenPipeError:  # the reader of the paths has stopped, as `| head` does
        raise
    except OSError as error:
        fail(REFUSED, f"{folder} cannot be written: {error.strerror}")


def write_certificates(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Writes these samples; yields each PDF when it and its picture are there."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = shutil.which("pdftoppm")
    for name in names:
        for document in Document:
            for locale in LOCALES:
                file = folder / f"{document}-{name}.{locale}.pdf"
                file.write_bytes(render(SAMPLES[name], document, locale, logos=LOGOS, timestamp=MOMENT))
                if drawn:
                    subprocess.run(
                        [drawn, "-png", "-r", "80", "-singlefile", file, file.with_suffix("")],
                        check=True, stderr=subprocess.DEVNULL,
                    )  # fmt: skip
                yield file
