"""Shows the text that a mail would have now, without the token of any link: nothing of it is kept once it has left."""

import re
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import EmailKind
from workers.database import Session, transaction
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.errors import Permanent
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import read_facts
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import WRITERS
from workers.mail.renderer import RenderedMail, render
from workers.sql import fetch_one

_COLUMNS: Final = ", ".join(f"{EMAILS.expressions.get(name, name)} AS {name}" for name in MailColumns._fields)

# Reads the columns of a mail that its letter is written from, claimed or not.
READ_COLUMNS: Final = text(f"SELECT {_COLUMNS} FROM email WHERE id = :id")

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{40,}")
"""Every run of characters as long as a token: those of links have 64, and no word is so long."""

NOT_SHOWN: Final = "token-not-shown"


class MailPreview(NamedTuple):
    """The text of a mail as it would be written now.

    Parameters:
      kind: the kind that it would be; an invitation may have become another.
    """

    kind: str
    subject: str
    text: str
    html: str


def preview_mail(mail_id: UUID) -> MailPreview | None:
    """Writes a mail as if it left now, and shows it without tokens and without files.

    The transaction is rolled back, whatever a letter records. Returns None for a mail that would not be sent now: its
    link was used, the person has left, its address was erased, or its facts are gone.
    """
    with transaction() as session:
        letter = _write(session, mail_id)
        rendered = None if letter is None or letter.unsent else _render(letter)
        session.rollback()
    return None if letter is None or rendered is None else _without_tokens(letter.kind, rendered)


def _write(session: Session, mail_id: UUID) -> Letter | None:
    columns = fetch_one(session, MailColumns, READ_COLUMNS, {"id": mail_id})
    if columns is None or columns.kind not in list(EmailKind):
        return None
    row = ClaimedRow(mail_id, 0, 0, 0, UUID(int=0), columns)
    mail = ClaimedMail.of(row)
    facts = read_facts(session, [mail]).get(mail_id)
    if facts is None or facts.erased:
        return None
    try:
        return WRITERS[mail.kind](session, mail, facts)
    except (Permanent, LookupError):
        return None


def _render(letter: Letter) -> RenderedMail | None:
    """Renders a letter without the files that come with it; None when it cannot be without them."""
    context = {**letter.context, "attached": False} if letter.file_id is not None else letter.context
    try:
        return render(letter.kind, letter.mail.locale, context)
    except Permanent:
        return None


def _without_tokens(kind: EmailKind, rendered: RenderedMail) -> MailPreview:
    shown = (TOKEN.sub(NOT_SHOWN, part) for part in (rendered.subject, rendered.text, rendered.html))
    return MailPreview(kind, *shown)


__all__ = ["MailPreview", "preview_mail"]
