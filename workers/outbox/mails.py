"""The outbox: a transaction that causes mails writes them as rows, and they are sent after it has committed.

Only this module writes owed mails and cancels them. It never cancels a mail that a mailer has claimed: the mailer reads
the facts again before it sends (``workers/mail/letters/writing.py``).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import idna
from sqlalchemy import text

from models.address import parse_mailbox
from models.base import new_id
from models.email import Email
from models.mails import MAILS
from models.words import EmailKind
from workers.database import Session
from workers.engine.ledger import wake_after_commit
from workers.errors import NotConfigured
from workers.requests.queues import Queue
from workers.settings import get_settings
from workers.sql import Unnest


class OwedMail(NamedTuple):
    """One mail that a transaction owes.

    Parameters:
      kind: the kind of mail.
      key: together with the kind it makes the mail unique: the same key again owes nothing.
      lane: the company, or the portal when no company is known; mails of different lanes are claimed in turn.
      to_address, locale: the recipient's address and language, as they are now.
      queue: `emails` when a person waits for the mail, else `emails_bulk`.
      job_id: the job that caused it.
      account_id, enrollment_id: the person the mail goes to, so that a withdrawal or a correction cancels it; both None
        in a mail to a manager that is about no single person.
      contract_id: the contract it is about.
      context: facts that its text needs, as JSON; no name, no link, no token.
      wait_seconds: how long it waits before it leaves, so that one mail tells of all that happens meanwhile.
    """

    kind: EmailKind
    key: str
    lane: UUID
    to_address: str
    locale: str
    queue: Queue = Queue.EMAILS_BULK
    job_id: UUID | None = None
    account_id: UUID | None = None
    enrollment_id: UUID | None = None
    contract_id: UUID | None = None
    context: Mapping[str, Any] | None = None
    wait_seconds: int = 0


class _EmailRow(NamedTuple):
    id: UUID
    kind: str
    queue: str
    lane: UUID
    dedup_key: str
    to_address: str
    locale: str
    context: str | None
    account_id: UUID | None
    enrollment_id: UUID | None
    contract_id: UUID | None
    job_id: UUID | None
    lifetime: int
    wait: int


class _EnrolledPerson(NamedTuple):
    account_id: UUID
    enrollment_id: UUID


class _FormerAddress(NamedTuple):
    account_id: UUID
    to_address: str


_ROWS: Final = Unnest(_EmailRow, Email, alias="given", others={"lifetime": "integer", "wait": "integer"})
_PEOPLE: Final = Unnest(_EnrolledPerson, Email, alias="given")
_FORMER: Final = Unnest(_FormerAddress, Email, alias="given")

# Message-ID and Date are set here, once, so that a mail sent twice is recognised as the same (RFC 5322, 3.6.4).
INSERT_EMAILS = text(f"""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, context, account_id, enrollment_id,
      contract_id, job_id, message_id, date, expires_at, state, due_at)
    SELECT id, kind, queue, lane, dedup_key, to_address, locale, context, account_id, enrollment_id, contract_id,
      job_id, '<' || id || '.' || kind || '@' || CAST(:domain AS text) || '>', date_trunc('second', now()),
      now() + make_interval(secs => lifetime), 'owed', now() + make_interval(secs => wait)
    FROM {_ROWS}
    ON CONFLICT (dedup_key) DO NOTHING""")

_CANCEL: Final = """
    UPDATE email SET state = 'cancelled', due_at = NULL, finished_at = now() FROM (
      SELECT m.id FROM {found} AND m.due_at IS NOT NULL AND m.leased_until IS NULL
      ORDER BY m.id FOR NO KEY UPDATE OF m) owed
    WHERE email.id = owed.id"""

# Mails are found by account and enrollment, the columns of their index.
CANCEL_MAILS_OF_ENROLLMENTS = text(
    _CANCEL.format(found=f"{_PEOPLE} JOIN email m USING (account_id, enrollment_id) WHERE true")
)

# Cancels owed mails to an address the account no longer has, but for the kinds that tell of the change.
CANCEL_MAILS_TO_FORMER_ADDRESSES = text(
    _CANCEL.format(
        found=f"""{_FORMER} JOIN email m USING (account_id, to_address)
        JOIN account a ON a.id = m.account_id AND a.email_norm <> m.to_address
        WHERE NOT m.kind = ANY(CAST(:kept AS text[]))"""
    )
)

# Cancels owed mails that speak of a correction.
CANCEL_MAILS_OF_CORRECTION = text(
    _CANCEL.format(
        found="""email m WHERE m.account_id = :account AND m.kind = ANY(CAST(:kinds AS text[]))
        AND m.context ->> 'correction' = :correction"""
    )
)


def owe(session: Session, mails: Sequence[OwedMail]) -> None:
    """Owes these mails, each once per key; their queues are woken after the commit.

    Raises: NotConfigured when the settings name no domain for Message-ID.
    """
    if not mails:
        return
    for queue in {mail.queue for mail in mails}:
        wake_after_commit(session, queue)
    session.execute(INSERT_EMAILS, _ROWS.parameters([_row(mail) for mail in mails]) | {"domain": message_id_domain()})


def cancel_mails_of_enrollments(session: Session, people: Sequence[tuple[UUID, UUID]]) -> None:
    """Cancels the mails still owed to people about enrollments they no longer have.

    Parameters:
      people: the account and the enrollment of each.
    """
    if people:
        session.execute(CANCEL_MAILS_OF_ENROLLMENTS, _PEOPLE.parameters([_EnrolledPerson(*one) for one in people]))


def cancel_mails_to_former_addresses(
    session: Session, former: Sequence[tuple[UUID, str]], *, kept: Collection[EmailKind]
) -> None:
    """Cancels the mails still owed to addresses that accounts no longer have.

    Parameters:
      former: the account and its former address, of each.
      kept: the kinds of mail that are meant for the former address.
    """
    if former:
        parameters = _FORMER.parameters([_FormerAddress(*one) for one in former])
        session.execute(CANCEL_MAILS_TO_FORMER_ADDRESSES, parameters | {"kept": list(kept)})


def cancel_mails_of_correction(
    session: Session, account_id: UUID, correction_id: UUID, kinds: Collection[EmailKind]
) -> None:
    """Cancels mails of these kinds about a correction that has ended."""
    asked = {"account": account_id, "correction": str(correction_id), "kinds": list(kinds)}
    session.execute(CANCEL_MAILS_OF_CORRECTION, asked)


def _row(mail: OwedMail) -> _EmailRow:
    return _EmailRow(
        new_id(),
        mail.kind,
        mail.queue,
        mail.lane,
        f"{mail.kind}:{mail.key}",
        mail.to_address,
        mail.locale,
        None if mail.context is None else json.dumps(mail.context),
        mail.account_id,
        mail.enrollment_id,
        mail.contract_id,
        mail.job_id,
        int(MAILS[mail.kind].lifetime.total_seconds()),
        mail.wait_seconds,
    )


@lru_cache(maxsize=1)
def message_id_domain() -> str:
    """Returns the domain part of Message-ID: our own domain in its ASCII form, the same for every attempt.

    Raises: NotConfigured when the settings name no domain.
    """
    settings = get_settings()
    sender = parse_mailbox(settings.mail_from)
    domain = settings.message_id_domain or ("" if sender is None else sender.address.rpartition("@")[2])
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError as wrong:  # the base class of idna's errors
        raise NotConfigured("MESSAGE_ID_DOMAIN, or else MAIL_FROM, has no valid domain") from wrong
