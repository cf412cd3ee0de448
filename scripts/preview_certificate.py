"""Renders sample certificates, in every layout and language, into a folder, as PDF and (with pdftoppm) as PNG."""

import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Final

import typer

from models.snapshot import Document
from models.words import LOCALES
from scripts.certificate_samples import LOGOS, MOMENT, SAMPLES
from workers.certificates.renderer import render

FOLDER: Final = Path(__file__).resolve().parents[1] / "var" / "certificates"


def main(
    folder: Annotated[Path, typer.Argument(help="where the files go")] = FOLDER,
    only: Annotated[list[str] | None, typer.Option(help=f"some of: {', '.join(SAMPLES)}")] = None,
) -> None:
    """Writes the samples."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = shutil.which("pdftoppm")
    for name in only or SAMPLES:
        for document in Document:
            for locale in LOCALES:
                file = folder / f"{document}-{name}.{locale}.pdf"
                file.write_bytes(render(SAMPLES[name], document, locale, logos=LOGOS, timestamp=MOMENT))
                if drawn:
                    subprocess.run(
                        [drawn, "-png", "-r", "80", "-singlefile", file, file.with_suffix("")],
                        check=True, stderr=subprocess.DEVNULL,
                    )  # fmt: skip
                typer.echo(str(file))


if __name__ == "__main__":
    typer.run(main)
