"""Writes to the people who run a portal that one of its webhook endpoints fails, or was disabled."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.webhook_delivery import DisabledReason
from models.words import EmailKind
from workers.database import Session
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailFacts
from workers.mail.letters.letter import Letter, not_wanted, signature
from workers.sql import fetch_one

MOST_COUNTED: Final = 100_000
"""The most events that are counted: a mail that says "100,000" says enough."""

# Reads how an endpoint does by now, with its last answer and the number of its events that wait; it locks nothing.
READ_ENDPOINT = text(f"""
    SELECT p.name AS portal_name, e.reference AS endpoint_reference, e.failing_since, e.disabled_reason,
      (SELECT coalesce('HTTP ' || a.status, split_part(a.error, ':', 1)) FROM webhook_attempt a
       WHERE a.webhook_id = CAST(:webhook AS uuid) ORDER BY a.id DESC LIMIT 1) AS last_answer,
      (SELECT count(*) FROM (
        SELECT FROM webhook w WHERE w.endpoint_id = e.id AND w.state IN ('owed', 'held') LIMIT {MOST_COUNTED}
      ) counted)::int AS waiting
    FROM webhook_endpoint e JOIN portal p ON p.id = e.portal_id WHERE e.id = :endpoint""")


class FailingEndpoint(NamedTuple):
    """An endpoint as its mail tells of it.

    Parameters:
      last_answer: the status of the last answer, or the word for the reason why there was none.
      waiting: its events that are owed or held.
    """

    portal_name: str
    endpoint_reference: str
    failing_since: datetime | None
    disabled_reason: str | None
    last_answer: str | None
    waiting: int


def write_webhooks_failing(session: Session, mail: ClaimedMail, _: MailFacts) -> Letter:
    """Writes how the endpoint does by now, unless it works again."""
    asked = {"endpoint": UUID(mail.context["endpoint"]), "webhook": mail.context["webhook"]}
    found = fetch_one(session, FailingEndpoint, READ_ENDPOINT, asked)
    if found is None or (found.failing_since is None and found.disabled_reason is None):
        return not_wanted(mail)
    if found.disabled_reason == DisabledReason.ASKED:
        return not_wanted(mail)
    says = found._asdict()
    return Letter(mail, mail.kind, says | {"disabled": says.pop("disabled_reason")} | signature())


WRITERS: Final = {EmailKind.WEBHOOKS_FAILING: write_webhooks_failing}
