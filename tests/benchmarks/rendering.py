"""Renders documents with Matricule, with Typst alone, or with WeasyPrint, in a separate process.

python -m tests.benchmarks.rendering ENGINE SHEETS_FILE WARM GO_FILE SHARE renders the first WARM documents, which do
not count, says that it is ready, waits for GO_FILE, so that two processes begin together, then renders the others once
each: Typst remembers earlier layouts, and a repeated document takes a third of the time. It prints as JSON when it
began and ended, its CPU seconds, the milliseconds of each document, and a hash of all their bytes; it writes the last
document beside GO_FILE.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import typst

from tests.benchmarks.sheets import Sheet, kept
from workers.documents.contents import contents
from workers.documents.printable import FONTS
from workers.documents.renderer import STANDARDS, TEMPLATES, render

Engine = Callable[[int], bytes]


class Ours:
    """The renderer of the workers, with the data that the database gives it."""

    def __init__(self, sheets: list[Sheet], logos: Mapping[str, bytes]) -> None:
        self._sheets, self._logos = sheets, logos

    def __call__(self, number: int) -> bytes:
        """Returns the PDF of one document."""
        printed, document, locale, timestamp = self._sheets[number]
        return render(printed, document, locale, logos=self._logos, timestamp=timestamp)


class Bare:
    """One long-lived compiler of Typst with JSON data written before, so that only Typst is measured."""

    def __init__(self, sheets: list[Sheet], logos: Mapping[str, bytes]) -> None:
        self._folder = TemporaryDirectory()
        self._root = Path(self._folder.name)
        for file in TEMPLATES.iterdir():
            (self._root / file.name).write_bytes(file.read_bytes())
        (self._root / "logos").mkdir()
        for digest, content in logos.items():
            (self._root / "logos" / f"{digest}.png").write_bytes(content)
        places = {digest: f"/logos/{digest}.png" for digest in logos}
        self._texts = [json.dumps(contents(*sheet[:3], places), ensure_ascii=False) for sheet in sheets]
        self._times = [int(sheet.timestamp.timestamp()) for sheet in sheets]
        [self._document] = {sheet.document for sheet in sheets}

    @cached_property
    def _compiler(self) -> typst.Compiler:
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)])
        return typst.Compiler(self._root / f"{self._document}.typ", root=self._root, font_paths=fonts)

    def __call__(self, number: int) -> bytes:
        """Returns the PDF of one document."""
        made = self._compiler.compile(
            format="pdf",
            sys_inputs={"data": self._texts[number]},
            pdf_standards=STANDARDS,
            timestamp=self._times[number],
        )
        assert isinstance(made, bytes)
        return made


def _weasyprint(sheets: list[Sheet], logos: Mapping[str, bytes], *, keep: bool) -> Engine:
    """Imports WeasyPrint only in the process that measures it."""
    made: Engine = import_module("tests.benchmarks.weasy_page").WeasyPage(sheets, logos, keep=keep)
    return made


ENGINES: Final[dict[str, Callable[[list[Sheet], Mapping[str, bytes]], Engine]]] = {
    "ours": Ours,
    "bare": Bare,
    "weasyprint": partial(_weasyprint, keep=False),
    "weasyprint-kept": partial(_weasyprint, keep=True),
}


def main() -> None:
    engine, file, warm, go, share = sys.argv[1:]
    sheets, logos = kept(Path(file))
    render_one = ENGINES[engine](sheets, logos)
    for number in range(int(warm)):
        render_one(number)
    Path(f"{go}.{share}").touch()
    while not Path(go).exists():
        time.sleep(0.002)
    made, each = [], []
    began, used = time.time(), time.process_time()
    for number in range(int(warm), len(sheets)):
        start = time.perf_counter()
        made.append(render_one(number))
        each.append(1000 * (time.perf_counter() - start))
    ended, used = time.time(), time.process_time() - used
    Path(go).with_name(f"last.{share}.pdf").write_bytes(made[-1])
    digest = hashlib.sha256(b"".join(made)).hexdigest()
    print(json.dumps({"began": began, "ended": ended, "used": used, "each": each, "sha256": digest}))


if __name__ == "__main__":
    main()
