"""Renders a certificate as a PDF that is PDF/A-2a and PDF/UA-1 at once; the same data give the same bytes.

Typst renders in this process, without a network and with no other fonts than those beside this file. The data go in as
one JSON string, which is never evaluated.
"""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import typst

from models.document import Document, PrintedCertificate
from workers.documents.contents import contents
from workers.documents.printable import FONTS, of_one_font, without_marks
from workers.logs import get_logger

log = get_logger()

TEMPLATES: Final = Path(__file__).parent / "templates"
STANDARDS: Final[Any] = ["a-2a", "ua-1"]
BLANK: Final = "blank"
BLANKS: Final = 3
"""Empty documents compiled after each document. Typst drops from its cache what ten compilations, of all threads, have
not used. No certificate reuses parts of another, so empty documents empty the cache earlier: that saves 10 MB and costs
no time.
"""

MOST_LOGOS: Final = 100
"""The number of pictures that a thread keeps on disk for its compiler."""


class NotRendered(Exception):
    """This one document cannot be made, and another attempt would fail too."""


class Undrawable(NotRendered):
    """The fonts have every character of the document, but no glyph for some of them side by side."""


def render(
    printed: PrintedCertificate, document: Document, locale: str, *, logos: Mapping[str, bytes], timestamp: datetime
) -> bytes:
    """Renders the document as a PDF of one page.

    Parameters:
      locale: `fr` or `en`.
      logos: PNG pictures by their SHA-256; a picture that is missing or damaged is left out.
      timestamp: the creation date; with the same date the bytes are the same.

    Raises: NotRendered.
    """
    asked = printed
    for plainer in (without_marks, of_one_font):
        try:
            return _render(asked, document, locale, logos, timestamp)
        except Undrawable:
            log.warning("certificate.plainer", certificate=printed.number)
            asked = PrintedCertificate.model_validate(_each_text(printed.model_dump(mode="json"), plainer))
    return _render(asked, document, locale, logos, timestamp)


def _render(
    printed: PrintedCertificate, document: Document, locale: str, logos: Mapping[str, bytes], timestamp: datetime
) -> bytes:
    folder = _render_folder()
    paths = {digest: folder.keep(digest, content) for digest, content in logos.items()}
    data = contents(printed, document, locale, paths)
    try:
        return folder.compile(document, data, timestamp)
    except Undrawable:
        raise
    except NotRendered:
        if not paths:
            raise
        log.warning("certificate.without_logo", certificate=printed.number)
        return folder.compile(document, contents(printed, document, locale, {}), timestamp)


def _each_text(node: Any, change: Callable[[str], str]) -> Any:
    """Copies a tree of values and changes every text in it."""
    if isinstance(node, dict):
        return {key: _each_text(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_each_text(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


class RenderFolder:
    """A folder on disk with the templates and pictures of this process: a compiler reads nothing outside its root.

    Parameters:
      templates: the folder of templates, which is copied; `attestation` is compiled from its `attestation.typ`.
    """

    def __init__(self, templates: Path = TEMPLATES) -> None:
        self._folder = TemporaryDirectory(prefix="matricule-typst-")
        self.root = Path(self._folder.name)
        for file in templates.iterdir():
            (self.root / file.name).write_bytes(file.read_bytes())
        (self.root / f"{BLANK}.typ").touch()
        (self.root / "logos").mkdir()
        self._places = 0
        self._lock = threading.Lock()
        self._of_thread = threading.local()

    def close(self) -> None:
        """Removes the files. The files of a process are removed when it ends."""
        self._folder.cleanup()

    def keep(self, digest: str, content: bytes) -> str:
        """Puts a picture where templates find it; when there are many, it replaces the one unused for longest.

        Paths are used again, because Typst numbers every file it ever saw, up to 65,535. Each thread has its own paths,
        so that no picture is exchanged under a document that is being made.
        """
        kept: dict[str, Path] = self._of_thread.__dict__.setdefault("kept", {})  # by when they were last used
        place = kept.pop(digest, None)
        if place is None:
            place = kept.pop(next(iter(kept))) if len(kept) >= MOST_LOGOS else self._free_place()
            draft = place.with_suffix(".draft")
            draft.write_bytes(content)
            draft.replace(place)
        kept[digest] = place
        return f"/logos/{place.name}"

    def _free_place(self) -> Path:
        with self._lock:
            self._places += 1
            return self.root / "logos" / f"{self._places}.png"

    def compile(self, document: str, data: Mapping[str, Any], timestamp: datetime) -> bytes:
        """Compiles the template with these data to PDF; several threads may call it at once.

        Raises: NotRendered.
        """
        try:
            made = self._compiler(document).compile(
                format="pdf",
                sys_inputs={"data": json.dumps(data, ensure_ascii=False)},
                pdf_standards=STANDARDS,
                timestamp=int(timestamp.timestamp()),
            )
        except (typst.TypstError, RuntimeError, ValueError) as error:
            kind = Undrawable if "could not be displayed" in str(error) else NotRendered
            raise kind(f"{document}: {_reason(error)}") from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # a panic of Typst, which is no Exception
                raise
            self._of_thread.compilers = {}  # the state of this compiler is unknown now
            raise NotRendered(f"{document}: the compiler gave up") from error
        if not isinstance(made, bytes):
            raise NotRendered(f"{document}: more than one file")
        for _ in range(BLANKS):
            self._compiler(BLANK).compile(format="svg")
        return made

    def _compiler(self, document: str) -> typst.Compiler:
        """Returns the compiler of this thread: compilers cannot be shared. It remembers what it laid out before."""
        compilers: dict[str, typst.Compiler] = self._of_thread.__dict__.setdefault("compilers", {})
        if document not in compilers:
            main = self.root / f"{document}.typ"
            compilers[document] = typst.Compiler(main, root=self.root, font_paths=_fonts())
        return compilers[document]


def _reason(error: Exception) -> str:
    """Returns the message of Typst without the values it quotes, which may be a person's name."""
    return str(getattr(error, "message", type(error).__name__)).partition('"')[0].partition("`")[0].strip()[:100]


_MAKING: Final = threading.Lock()
"""Held while the folder is made: else two threads would make one each, and one folder would be removed in use."""


def _render_folder() -> RenderFolder:
    with _MAKING:
        return _only_folder()


@lru_cache(maxsize=1)
def _only_folder() -> RenderFolder:
    return RenderFolder()


@lru_cache(maxsize=1)
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)])
