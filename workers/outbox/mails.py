"""Mails nobody waits for in person, owed by what Matricule does on its own: reminders, warnings, reports."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.words import EmailKind
from workers.database import Session, array
from workers.engine.ledger import wake_after_commit
from workers.enrollment.rows import message_id_domain
from workers.requests.queues import Queue

INSERT_EMAILS = text(f"""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      context, account_id, enrollment_id, contract_id, job_id, due_at)
    SELECT id, CAST(:kind AS text), '{Queue.EMAILS_BULK}', company_id, dedup_key, to_address, locale,
      '<' || id || '.' || CAST(:kind AS text) || '@' || CAST(:domain AS text) || '>', date_trunc('second', now()),
      now() + :lifetime, 'owed', CAST(context AS json), account_id, enrollment_id, contract_id, :job, now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:companies AS uuid[]), CAST(:keys AS text[]), CAST(:addresses AS text[]),
      CAST(:locales AS text[]), CAST(:contexts AS text[]), CAST(:accounts AS uuid[]), CAST(:enrollments AS uuid[]),
      CAST(:contracts AS uuid[]))
      t (id, company_id, dedup_key, to_address, locale, context, account_id, enrollment_id, contract_id)
    ON CONFLICT (dedup_key) DO NOTHING""")


class OwedMail(NamedTuple):
    """One mail.

    Parameters:
      key: what makes it the only one of its kind, without the kind.
      company_id: whose mails it takes turns with; a portal where no company is known.
      context: plain facts its letter needs; no name, no link.
      account_id, enrollment_id: whom it is about when it goes to that person; None when it goes to a manager.
    """

    key: str
    company_id: UUID
    contract_id: UUID | None
    address: str
    locale: str
    account_id: UUID | None = None
    enrollment_id: UUID | None = None
    context: Mapping[str, Any] | None = None


def owe_mails(session: Session, job_id: UUID, kind: EmailKind, mails: Sequence[OwedMail], lifetime: timedelta) -> None:
    """Owes these mails, each once whatever happens.

    Parameters:
      lifetime: how late they may be sent.
    """
    if not mails:
        return
    wake_after_commit(session, Queue.EMAILS_BULK)
    session.execute(
        INSERT_EMAILS,
        {
            "kind": kind,
            "job": job_id,
            "ids": array(new_id() for _ in mails),
            "companies": array(mail.company_id for mail in mails),
            "keys": [f"{kind}:{mail.key}" for mail in mails],
            "addresses": [mail.address for mail in mails],
            "locales": [mail.locale for mail in mails],
            "contexts": [None if mail.context is None else json.dumps(mail.context) for mail in mails],
            "accounts": array(mail.account_id for mail in mails),
            "enrollments": array(mail.enrollment_id for mail in mails),
            "contracts": array(mail.contract_id for mail in mails),
            "domain": message_id_domain(),
            "lifetime": lifetime,
        },
    )
