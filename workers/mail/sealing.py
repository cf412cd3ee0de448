"""From what is known of a mail to the message as it leaves: rendered, and with the file that comes with it."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final
from uuid import UUID

from models.words import EmailState
from workers.database import is_transient
from workers.engine.claimer import set_back
from workers.engine.ledger import EMAILS, ClaimedRow, FailedAttempt
from workers.errors import NotConfigured, Permanent, Transient
from workers.logs import describe, get_logger
from workers.mail.letter_files import whole_context
from workers.mail.letters.letter import Letter
from workers.mail.message import SenderIdentity, build
from workers.mail.renderer import render
from workers.mail.sending import SAFE_PART, PreparedMail

log = get_logger()

FILE_PAUSE: Final = 30.0
"""Seconds a mail waits whose file cannot be read at the moment."""

Renew = Callable[[Sequence[ClaimedRow]], Collection[UUID] | None]
"""Moves leases; which rows are still ours, or None when the database did not answer."""


def seal_letters(letters: Sequence[Letter], identity: SenderIdentity, lease: float, renew: Renew) -> list[PreparedMail]:
    """The mails as they leave. When a file cannot be read at the moment, those that are left wait too.

    Reading a file takes seconds: the leases of all are moved meanwhile.

    Parameters:
      lease: seconds the mails are ours from when they were claimed.
    """
    held = {letter.row.id: letter.row.asked_at for letter in letters}
    rows = [letter.row for letter in letters]
    sealed = []
    for number, letter in enumerate(letters):
        held = _move_leases(rows, held, lease, renew)
        if letter.row.id not in held:
            continue
        try:
            message = _seal(letter, identity)
        except Exception as error:
            if not (isinstance(error, Transient | NotConfigured) or is_transient(error)):
                raise
            _let_wait([one for one in letters[number:] if one.row.id in held], error)
            break
        if message is not None:
            sealed.append((letter.mail, message))
    held = _move_leases(rows, held, lease, renew)
    ours = [(mail, message) for mail, message in sealed if mail.id in held]
    return [PreparedMail(mail, message, held[mail.id] + lease * SAFE_PART) for mail, message in ours]


def _move_leases(rows: Sequence[ClaimedRow], held: dict[UUID, float], lease: float, renew: Renew) -> dict[UUID, float]:
    """The rows still ours and when their leases were asked for: anew once a third of a lease has passed."""
    asked_at = time.monotonic()
    if asked_at < min(held.values(), default=asked_at) + lease / 3:
        return held
    ours = renew([row for row in rows if row.id in held])
    return held if ours is None else dict.fromkeys(ours, asked_at)


def _seal(letter: Letter, identity: SenderIdentity) -> bytes | None:
    mail = letter.mail
    try:
        with whole_context(letter) as context:
            rendered = render(letter.kind, mail.locale, context)
        return build(
            rendered,
            to_address=mail.to_address,
            message_id=mail.message_id,
            date=mail.date,
            identity=identity,
        )
    except Permanent as error:
        log.exception("mail.unrenderable", rows=_names([letter]))
        set_back(
            EMAILS, [FailedAttempt(letter.row.id, letter.row.claim, EmailState.FAILED, None, "dead", describe(error))]
        )
        return None


def _let_wait(letters: Sequence[Letter], error: Exception) -> None:
    """Puts mails back, without a failure: the store of documents or the database is away, or not set up yet."""
    log.warning("mail.waits", rows=_names(letters), exc_info=error)
    reason = describe(error) | {"traceback": ""}
    seconds = max(getattr(error, "seconds", 0.0), FILE_PAUSE)
    postponed = [
        FailedAttempt(one.row.id, one.row.claim, EmailState.OWED, seconds, "postponed", reason, counts=False)
        for one in letters
    ]
    set_back(EMAILS, postponed)


def _names(letters: Sequence[Letter]) -> list[str]:
    """Mails as log lines name them: identifier and attempt."""
    return [f"{letter.row.id}#{letter.row.claim}" for letter in letters]
