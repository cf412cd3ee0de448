"""scripts/preview-certificate: sample certificates in every layout and language, for the eye."""

import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from models.document import Document
from models.words import LOCALES
from workers.cli.edge import REFUSED, fail, run
from workers.cli.samples.certificates import LOGOS, MOMENT, SAMPLES
from workers.documents.renderer import render

FOLDER: Final = Path(__file__).resolve().parents[2] / "var" / "preview" / "certificates"
HELP: Final = f"""\
Writes sample certificates in every layout and language as PDF, and as PNG where pdftoppm (of the package
poppler-utils) is there; prints the paths of the PDFs.

Exit codes: 0, {REFUSED} the folder cannot be written, 2 usage.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def main(
    folder: Annotated[
        Path, typer.Argument(help="where the files go", show_default="var/preview/certificates")
    ] = FOLDER,
    only: Annotated[list[str] | None, typer.Option(help=f"some of: {', '.join(SAMPLES)}")] = None,
) -> None:
    """The command."""
    if unknown := set(only or ()) - set(SAMPLES):
        raise typer.BadParameter(f"no sample is called {', '.join(sorted(unknown))}", param_hint="--only")
    try:
        for file in write_certificates(folder, only or SAMPLES):
            typer.echo(file)
    except BrokenPipeError:  # whoever read the paths has gone, as `| head` does
        raise
    except OSError as error:
        fail(REFUSED, f"{folder} cannot be written: {error.strerror}")


def write_certificates(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Writes these samples; gives each PDF when it and its picture are there."""
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


if __name__ == "__main__":
    run(app, "preview-certificate")
