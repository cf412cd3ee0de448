"""The engines that the benchmark of documents compares make the same document: equal bytes, or equal words and
pictures.
"""

import io
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pikepdf
import pytest

from models.document import Document, PrintedDuplicate
from tests.benchmarks import sheets
from tests.benchmarks.rendering import ENGINES
from tests.benchmarks.sheets import Sheet
from tests.kit.processes.support import PROJECT
from tests.kit.system import need, run
from workers.cli.samples.certificates import LOGOS, MOMENT, SAMPLES

DUPLICATE = PrintedDuplicate(number="2026-000142-D1", issued_on=date(2026, 11, 25))
SHEET = Sheet(SAMPLES["logos"].model_copy(update={"duplicate": DUPLICATE}), Document.ATTESTATION, "fr", MOMENT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Renders the same document with each engine, in separate processes, because WeasyPrint leaves files open."""
    need("pango-1.0", "pangoft2-1.0", "harfbuzz-subset")
    folder = tmp_path_factory.mktemp("rendering")
    sheets.keep(folder / "sheets", [SHEET], LOGOS)
    (folder / "go").touch()
    for name in ENGINES:
        asked = [name, folder / "sheets", "0", folder / "go", name]
        command = [sys.executable, "-m", "tests.benchmarks.rendering", *map(str, asked)]
        said = json.loads(subprocess.run(command, cwd=PROJECT, check=True, capture_output=True).stdout)
        assert len(said["each"]) == 1
        assert said["began"] < said["ended"]
    return {name: (folder / f"last.{name}.pdf").read_bytes() for name in ENGINES}


def words(pdf: bytes) -> list[str]:
    text = run("pdftotext", "-raw", "-", "-", given=pdf)
    return sorted(word for word in text.split() if word != "–")  # WeasyPrint writes the marks of a list


def facts(pdf: bytes) -> dict[str, Any]:
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        [page] = opened.pages
        metadata = opened.open_metadata()
        return {
            "size": [round(float(side)) for side in page.mediabox],
            "pictures": sorted((int(one.Width), int(one.Height)) for one in page.get_images().values()),
            "tagged": bool(opened.Root.MarkInfo.Marked) and "/StructTreeRoot" in opened.Root,
            "language": str(opened.Root.Lang),
            "conformance": (metadata["pdfaid:part"], metadata["pdfaid:conformance"]),
            "title": metadata["dc:title"],
        }


def fonts(pdf: bytes, folder: Path) -> set[str]:
    file = folder / "a.pdf"
    file.write_bytes(pdf)
    told = run("pdffonts", file).splitlines()[2:]
    assert all(line.split()[-5:-2] == ["yes", "yes", "yes"] for line in told)  # embedded, a subset, copied as Unicode
    return {line.split()[0].partition("+")[2].removesuffix("-Regular").replace("-", "") for line in told}


def test_typst_alone_makes_the_same_document(made: dict[str, bytes]) -> None:
    assert made["bare"] == made["ours"]


@pytest.mark.parametrize("engine", ["weasyprint", "weasyprint-kept"])
def test_the_page_of_weasyprint_is_the_same_page(made: dict[str, bytes], engine: str, tmp_path: Path) -> None:
    assert words(made[engine]) == words(made["ours"])
    assert facts(made[engine]) == facts(made["ours"])
    assert fonts(made[engine], tmp_path) == fonts(made["ours"], tmp_path)


def test_documents_are_kept_for_another_process(tmp_path: Path) -> None:
    sheets.keep(tmp_path / "sheets", [SHEET], LOGOS)
    assert sheets.kept(tmp_path / "sheets") == ([SHEET], LOGOS)
