"""From what is known of a mail to the message as it leaves: rendered, and with its document when that is attached."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from models.words import EmailState
from workers.actors.claimer import set_back
from workers.actors.files import read_file
from workers.actors.sending import SAFE_PART, Sealed
from workers.database import is_transient
from workers.errors import NotConfigured, Permanent, Transient
from workers.ledger import EMAILS, Setback
from workers.logs import describe, get_logger
from workers.mail.message import Identity, build
from workers.mail.renderer import render
from workers.services.letter import Letter

log = get_logger()

STORE_PAUSE: Final = 30.0
"""Seconds a mail waits whose document cannot be read at the moment."""


def seal_letters(letters: Sequence[Letter], identity: Identity, lease: float) -> list[Sealed]:
    """The mails as they leave. When a document cannot be read at the moment, those that are left wait too.

    Parameters:
      lease: seconds the mails are ours from when they were claimed.
    """
    sealed: list[Sealed] = []
    for number, letter in enumerate(letters):
        try:
            mail = _seal(letter, identity, lease)
        except Exception as error:
            if not (isinstance(error, Transient | NotConfigured) or is_transient(error)):
                raise
            _let_wait(letters[number:], error)
            break
        if mail is not None:
            sealed.append(mail)
    return sealed


def _seal(letter: Letter, identity: Identity, lease: float) -> Sealed | None:
    columns = letter.row.columns
    try:
        message = build(
            render(letter.kind, columns["locale"], _with_file(letter)),
            to_address=columns["to_address"],
            message_id=columns["message_id"],
            date=columns["date"],
            identity=identity,
        )
    except Permanent as error:
        log.exception("mail.unrenderable", rows=_names([letter]))
        set_back(EMAILS, [Setback(letter.row.id, letter.row.claim, EmailState.FAILED, None, "dead", describe(error))])
        return None
    return Sealed(letter.row, message, letter.row.asked_at + lease * SAFE_PART)


def _with_file(letter: Letter) -> Mapping[str, Any]:
    """What the templates are given; a document that is to be attached is read here, outside any transaction.

    One that is lost and cannot be made again is left to its link, whose page says so.
    """
    if letter.file_id is None or not letter.context["attached"]:
        return letter.context
    content = read_file(letter.file_id)
    return {**letter.context, "content": content, "attached": content is not None}


def _let_wait(letters: Sequence[Letter], error: Exception) -> None:
    """Puts mails back, without a failure: the store of documents is away, or not set up yet."""
    log.warning("mail.waits", rows=_names(letters), exc_info=error)
    reason = describe(error) | {"traceback": ""}
    seconds = max(getattr(error, "seconds", 0.0), STORE_PAUSE)
    postponed = [
        Setback(one.row.id, one.row.claim, EmailState.OWED, seconds, "postponed", reason, counts=False)
        for one in letters
    ]
    set_back(EMAILS, postponed)


def _names(letters: Sequence[Letter]) -> list[str]:
    """Mails as log lines name them: identifier and attempt."""
    return [f"{letter.row.id}#{letter.row.claim}" for letter in letters]
