"""Makes documents of registered duplicates: renders, seals when a key is configured, stores and zips them."""

import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from models.words import Code
from workers.certificates.duplicates.copies import (
    DuplicateCopy,
    RenderedCopy,
    read_copy,
    read_logos,
    record_rendering,
)
from workers.certificates.duplicates.index import IndexLine, index_file, read_index
from workers.certificates.duplicates.job import AssembledFile, DuplicateRun, PreparedChunk
from workers.database import transaction
from workers.documents.renderer import NotRendered, render
from workers.documents.seal import Sealer
from workers.documents.store import DocumentStore
from workers.errors import Transient
from workers.i18n.catalogues import translate
from workers.logs import get_logger
from workers.requests.certificates import DuplicateCertificates
from workers.settings import get_settings

log = get_logger()

CHUNK: Final = 10
"""Duplicates rendered between two commits; they take a fraction of a second, far less than a lease."""

RENDER_THREADS: Final = 2
"""Documents made at once: one waits for the store while another is rendered, and neither blocks Python."""

ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The date of every entry of a zip: the same files give the same bytes."""


@dataclass(frozen=True, slots=True)
class DocumentMaker:
    """Makes documents in one thread, with the store and the seal of this installation."""

    store: DocumentStore
    sealer: Sealer | None

    @classmethod
    def of_this_thread(cls) -> Self:
        """Returns the maker of this thread, made once: neither a compiler nor a key device can be shared."""
        settings = get_settings()
        known = getattr(_thread, "maker", None)
        if known is None or known[0] is not settings:
            known = _thread.maker = (
                settings,
                cls(DocumentStore.from_settings(settings), Sealer.from_settings(settings)),
            )
        maker: Self = known[1]
        return maker

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
        """Returns the bytes of a duplicate as they were delivered, or renders it again when the store has lost them.

        A document rendered again has the same hash, or is recorded as another rendering (a seal, a newer Typst). None
        when its contents are kept no longer.
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
                record_rendering(session, made)
        return self.store.get(made.sha256)

    def zip(self, path: Path, copies: Sequence[DuplicateCopy], index: Sequence[IndexLine], locale: str) -> None:
        """Fills a zip with documents from the store, and an index of each person who was asked for."""
        names = _file_names(copies)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(_entry(translate(locale, "index.csv")), index_file(index, names, locale))
            for copy in copies:
                content = self.store.get(copy.sha256 or "") or self.fetch(copy.duplicate_id)
                if content is None:
                    raise Transient("a document that was just made is not in the store", seconds=5)
                archive.writestr(_entry(names[copy.position]), content)


_thread = threading.local()


def make_ahead(run: DuplicateRun) -> DuplicateRun:
    """Makes the documents of the next chunk, outside any transaction, and fills the file when they are the last.

    Raises: Transient when the store cannot be reached, NotConfigured when the seal's key cannot be used.
    """
    made = tuple(_render_threads().map(partial(_make, run.logos), run.todo[:CHUNK]))
    finished = [*run.done, *(one.recorded for one in made if one.sha256)]
    last = len(run.todo) <= CHUNK and finished
    return replace(run, prepared=PreparedChunk(made, _assemble(run, made, finished) if last else None))


@lru_cache(maxsize=1)
def _render_threads() -> ThreadPoolExecutor:
    """Returns the threads that make the documents of this process; a compiler belongs to a thread, so they stay."""
    return ThreadPoolExecutor(RENDER_THREADS, thread_name_prefix="documents")


def _make(logos: Mapping[str, bytes], copy: DuplicateCopy) -> RenderedCopy:
    return DocumentMaker.of_this_thread().make(copy, logos)


def _assemble(run: DuplicateRun, made: Sequence[RenderedCopy], copies: Sequence[DuplicateCopy]) -> AssembledFile:
    """Makes the file: one document for one person, or a zip with an index for several."""
    if not isinstance(run.request, DuplicateCertificates) or len(run.request.enrollment_ids) <= 1:
        [copy] = copies
        return AssembledFile(copy.file_name, "pdf", copy.sha256 or "", copy.size or 0)
    locale, maker = run.request.locale, DocumentMaker.of_this_thread()
    with tempfile.TemporaryDirectory(prefix="matricule-zip-") as folder:
        path = Path(folder) / "file.zip"
        maker.zip(path, copies, _index(run, made), locale)
        digest, size = maker.store.put_file(path, ".zip"), path.stat().st_size
    return AssembledFile(translate(locale, "duplicatas.zip"), "zip", digest, size)


def _index(run: DuplicateRun, made: Sequence[RenderedCopy]) -> list[IndexLine]:
    failed = {one.copy.position for one in made if one.sha256 is None}
    with transaction() as session:
        lines = read_index(session, run.row.id)
    return [line._replace(code=Code.NOT_RENDERED) if line.position in failed else line for line in lines]


def _file_names(copies: Sequence[DuplicateCopy]) -> dict[int, str]:
    """Names the documents by position. Homonyms of two organisations may have one number: then a name gets a count."""
    names: dict[int, str] = {}
    taken: Counter[str] = Counter()
    for copy in copies:
        name = copy.file_name
        taken[name.casefold()] += 1
        times = taken[name.casefold()]
        names[copy.position] = name if times == 1 else f"{name.removesuffix('.pdf')}-{times}.pdf"
    return names


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, ZIP_DATE)
    entry.compress_type = zipfile.ZIP_STORED  # PDF is compressed already
    entry.external_attr = 0o644 << 16
    return entry
