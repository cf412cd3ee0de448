"""Documents made of what is registered: rendered, sealed when a key is configured, put in the store, zipped."""

import csv
import io
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from models.words import Code
from workers.certificates.duplicate_copies import (
    CHUNK,
    AssembledFile,
    DuplicateCopy,
    DuplicateRun,
    RenderedCopy,
    read_copy,
    read_logos,
    record_made,
)
from workers.certificates.duplicate_index import IndexLine, read_index
from workers.database import transaction
from workers.documents.renderer import NotRendered, render
from workers.documents.seal import Sealer
from workers.documents.store import DocumentStore
from workers.errors import Transient
from workers.i18n.catalogues import code_sentence, translate
from workers.logs import get_logger
from workers.mail.values import safe_cell
from workers.settings import get_settings

log = get_logger()

RENDER_THREADS: Final = 2
"""Documents made at once. One waits for the store while another is rendered; neither holds Python up."""

INDEX_COLUMNS: Final = (
    "N°",
    "Prénom",
    "Nom",
    "Attestation",
    "Duplicata",
    "Code de vérification",
    "Fichier",
    "Code",
    "Résultat",
)

ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""When entries of a zip were changed: never, so that the same files give the same bytes."""


@dataclass(frozen=True, slots=True)
class DocumentMaker:
    """What one thread makes documents with."""

    store: DocumentStore
    sealer: Sealer | None

    @classmethod
    def of_this_thread(cls) -> Self:
        """Made once per thread: neither a compiler nor a key device is shared."""
        settings = get_settings()
        known = getattr(_thread, "maker", None)
        if known is None or known[0] is not settings:
            known = _thread.maker = (
                settings,
                cls(DocumentStore.from_settings(settings), Sealer.from_settings(settings)),
            )
        maker: Self = known[1]
        return maker

    def make_ahead(self, course: DuplicateRun) -> None:
        """Renders the next chunk, and fills the file when it was the last. What goes wrong waits in the course."""
        work = course.work
        try:
            work.made += _render_threads().map(partial(_make, course.logos), course.todo[:CHUNK])
            made = [one.copy._replace(sha256=one.sha256, size=one.size) for one in work.made if one.sha256]
            finished = [*course.done, *made]
            if len(course.todo) <= CHUNK and finished:
                work.assembled = self._assemble(course, finished)
        except Exception as error:  # noqa: BLE001 - raised again inside the next transaction, where failures are counted
            work.trouble = error

    def make(self, copy: DuplicateCopy, logos: Mapping[str, bytes]) -> RenderedCopy:
        """Renders one duplicate and puts it in the store; without bytes when this one cannot be made.

        Raises: Transient when the store cannot be reached, NotConfigured when the seal's key cannot be used.
        """
        try:
            content = render(copy.printed, copy.document, copy.locale, logos=logos, timestamp=copy.issued_at)
        except NotRendered as error:
            log.exception("certificate.not_rendered", duplicate=str(copy.duplicate_id), exc_info=error)
            return RenderedCopy(copy, None)
        if self.sealer is not None:
            content = self.sealer.seal(content)
        return RenderedCopy(copy, self.store.put(content), len(content), sealed=self.sealer is not None)

    def fetch(self, duplicate_id: UUID) -> bytes | None:
        """The bytes of a duplicate: as they were delivered, or rendered again when the store has lost them.

        What is rendered again has the same hash, or is recorded as another rendering (a seal, a newer Typst). None
        when what it says is kept no longer.
        """
        with transaction() as session:
            copy = read_copy(session, duplicate_id)
            logos = read_logos(session, [copy.printed.snapshot]) if copy else {}
        if copy is None:
            return None
        content = self.store.get(copy.sha256) if copy.sha256 else None
        if content is not None:
            return content
        made = self.make(copy, logos)
        if made.sha256 is None:
            return None
        if made.sha256 != copy.sha256:
            log.warning("certificate.rendered_otherwise", duplicate=str(duplicate_id))
            with transaction() as session:
                record_made(session, made)
        return self.store.get(made.sha256)

    def _assemble(self, course: DuplicateRun, copies: Sequence[DuplicateCopy]) -> AssembledFile:
        """One document for one person; a zip with an index when several were asked for."""
        if len(getattr(course.request, "enrollment_ids", ())) <= 1:
            [copy] = copies
            return AssembledFile(copy.file_name, "pdf", copy.sha256 or "", copy.size or 0)
        locale = course.request.locale
        name = translate(locale, "duplicatas.zip")
        with tempfile.TemporaryDirectory(prefix="matricule-zip-") as folder:
            path = Path(folder) / "file.zip"
            self.zip(path, copies, self._index(course), locale)
            return AssembledFile(name, "zip", self.store.put_file(path, ".zip"), path.stat().st_size)

    def _index(self, course: DuplicateRun) -> list[IndexLine]:
        failed = {one.copy.position for one in course.work.made if one.sha256 is None}
        with transaction() as session:
            lines = read_index(session, course.row.id)
        return [line._replace(code=Code.NOT_RENDERED) if line.position in failed else line for line in lines]

    def zip(self, path: Path, copies: Sequence[DuplicateCopy], index: Sequence[IndexLine], locale: str) -> None:
        """Fills a zip with documents from the store, and an index of everybody who was asked for."""
        names = _file_names(copies)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(_entry(translate(locale, "index.csv")), _index_file(index, names, locale))
            for copy in copies:
                content = self.store.get(copy.sha256 or "") or self.fetch(copy.duplicate_id)
                if content is None:
                    raise Transient("a document that was just made is not in the store", seconds=5)
                archive.writestr(_entry(names[copy.position]), content)


_thread = threading.local()


def _file_names(copies: Sequence[DuplicateCopy]) -> dict[int, str]:
    """By position. Two organisations may have given homonyms the same number: a name that is taken is counted up."""
    names: dict[int, str] = {}
    taken: Counter[str] = Counter()
    for copy in copies:
        name = copy.file_name
        taken[name.casefold()] += 1
        times = taken[name.casefold()]
        names[copy.position] = name if times == 1 else f"{name.removesuffix('.pdf')}-{times}.pdf"
    return names


@lru_cache(maxsize=1)
def _render_threads() -> ThreadPoolExecutor:
    """Who makes the documents of all jobs of this process. They stay: a compiler belongs to the thread that made it."""
    return ThreadPoolExecutor(RENDER_THREADS, thread_name_prefix="documents")


def _make(logos: Mapping[str, bytes], copy: DuplicateCopy) -> RenderedCopy:
    return DocumentMaker.of_this_thread().make(copy, logos)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, ZIP_DATE)
    entry.compress_type = zipfile.ZIP_STORED  # PDF is compressed already
    entry.external_attr = 0o644 << 16
    return entry


def _index_file(index: Sequence[IndexLine], names: Mapping[int, str], locale: str) -> bytes:
    """Everybody, for Excel as it is set up in France: BOM, semicolons, CRLF, and no cell that runs as a formula."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, delimiter=";", lineterminator="\r\n")
    writer.writerow([translate(locale, column) for column in INDEX_COLUMNS])
    writer.writerows(_index_rows(index, names, locale))
    return ("\ufeff" + lines.getvalue()).encode("utf-8", "replace")


def _index_rows(index: Sequence[IndexLine], names: Mapping[int, str], locale: str) -> Iterator[list[object]]:
    for line in index:
        people = [safe_cell(line.first_name or ""), safe_cell(line.last_name or "")]
        certificate = [line.certificate or "", line.number or "", line.code_shown or "", names.get(line.position, "")]
        yield [line.position + 1, *people, *certificate, line.code, code_sentence(line.code, locale)]
