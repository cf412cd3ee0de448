"""What the templates of a letter are given: its facts, and what is read from a file once no transaction is open."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from workers.certificates.duplicates.fetching import read_file
from workers.database import transaction
from workers.imports.files import open_file
from workers.imports.reports import StoredRows
from workers.mail.letters.letter import Letter
from workers.rosters.kept_rows import KeptRows, recall
from workers.rosters.refused import RosterRefused


@contextmanager
def whole_context(letter: Letter) -> Iterator[Mapping[str, Any]]:
    """The values for the templates; a roster file among them stays open meanwhile.

    A document that is lost and cannot be made again is left to its link, whose page says so. Rows that cannot be read
    in the time a mail has are left out: the mail says enough without them.

    Raises: Transient when the store of documents is away, and transient errors of the database.
    """
    if letter.file_id is not None and letter.context["attached"]:
        content = read_file(letter.file_id)
        yield {**letter.context, "content": content, "attached": content is not None}
    elif letter.rows is not None:
        with _opened(letter, letter.rows) as added:
            yield {**letter.context, **added}
    else:
        yield letter.context


@contextmanager
def _opened(letter: Letter, rows: StoredRows) -> Iterator[Mapping[str, Any]]:
    added: Mapping[str, Any] = {}
    with ExitStack() as opened:
        with suppress(RosterRefused, OSError):
            with transaction() as session:
                file = open_file(session, rows.portal_id, rows.sha256)
            if file is not None:
                opened.enter_context(file)
                added = letter.from_rows(KeptRows(file, recall(file, rows.understood), rows.positions))
        yield added
