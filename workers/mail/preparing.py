"""Makes messages of letters: rendered, with the files that come with them, under leases that last."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final
from uuid import UUID

from models.words import EmailState
from workers.certificates.duplicates.fetching import read_file
from workers.database import is_transient, transaction
from workers.engine.claimer import postpone, set_back
from workers.engine.ledger import EMAILS, ClaimedRow, FailedAttempt, MailColumns
from workers.errors import NotConfigured, Permanent, Transient
from workers.imports.files import open_file
from workers.imports.reports import StoredRows
from workers.logs import describe, get_logger
from workers.mail.letters.letter import Letter
from workers.mail.message import SenderIdentity
from workers.mail.sending import SAFE_PART, PreparedMail
from workers.mail.skeleton import make_message
from workers.outbox.events import tell_undeliverable
from workers.rosters.kept_rows import KeptRows, recall
from workers.rosters.refused import RosterRefused

log = get_logger()

FILE_PAUSE: Final = 30.0
"""Seconds for which a mail waits when its file cannot be read at the moment."""

Renew = Callable[[Sequence[ClaimedRow[MailColumns]]], Collection[UUID] | None]
"""Renews leases; returns the rows that are still ours, or None when the database did not answer."""


def prepare_mails(
    letters: Sequence[Letter], identity: SenderIdentity, lease: float, renew: Renew
) -> list[PreparedMail]:
    """Makes the messages. When a file cannot be read at the moment, its mail and those after it wait.

    Reading a file takes seconds: the leases of all mails are renewed meanwhile.

    Parameters:
      lease: seconds for which the mails are ours from the claim on.
    """
    held = {letter.row.id: letter.row.asked_at for letter in letters}
    rows = [letter.row for letter in letters]
    built = []
    for number, letter in enumerate(letters):
        held = _renew_leases(rows, held, lease, renew)
        if letter.row.id not in held:
            continue
        try:
            message = _build(letter, identity)
        except Exception as error:
            if not (isinstance(error, Transient | NotConfigured) or is_transient(error)):
                raise
            _postpone([one for one in letters[number:] if one.row.id in held], error)
            break
        if message is not None:
            built.append((letter.mail, message))
    held = _renew_leases(rows, held, lease, renew)
    ours = [(mail, message) for mail, message in built if mail.id in held]
    return [PreparedMail(mail, message, held[mail.id] + lease * SAFE_PART) for mail, message in ours]


def _renew_leases(
    rows: Sequence[ClaimedRow[MailColumns]], held: dict[UUID, float], lease: float, renew: Renew
) -> dict[UUID, float]:
    """Renews leases once a third of their time has passed; returns when the leases still ours were requested."""
    asked_at = time.monotonic()
    if asked_at < min(held.values(), default=asked_at) + lease / 3:
        return held
    ours = renew([row for row in rows if row.id in held])
    return held if ours is None else dict.fromkeys(ours, asked_at)


def _build(letter: Letter, identity: SenderIdentity) -> bytes | None:
    """Builds the message; None when it can never be built, and then the mail has failed."""
    mail = letter.mail
    try:
        with whole_context(letter) as context:
            return make_message(
                letter.kind,
                mail.locale,
                context,
                to_address=mail.to_address,
                message_id=mail.message_id,
                date=mail.date,
                identity=identity,
            )
    except Permanent as error:
        log.exception("mail.unrenderable", rows=_names([letter]))
        failed = FailedAttempt(letter.row.id, letter.row.claim, EmailState.FAILED, None, "dead", describe(error))
        set_back(EMAILS, [failed], tell_undeliverable)
        return None


def _postpone(letters: Sequence[Letter], error: Exception) -> None:
    """Postpones mails without counting a failure: the store or the database is away, or a setting is missing."""
    log.warning("mail.waits", rows=_names(letters), exc_info=error)
    postpone(EMAILS, [one.row for one in letters], error, least=FILE_PAUSE)


def _names(letters: Sequence[Letter]) -> list[str]:
    return [letter.mail.name for letter in letters]


@contextmanager
def whole_context(letter: Letter) -> Iterator[Mapping[str, Any]]:
    """Gives the values for the templates, with those that come from a file; a roster file stays open meanwhile.

    A document that is lost and cannot be made again is not attached: the page behind its link says so. Rows that cannot
    be read in the time a mail has are left out: the mail is useful without them.

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
