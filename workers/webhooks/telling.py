"""Owes a mail to the people who run a portal, when one of its endpoints fails or was disabled."""

from uuid import UUID

from sqlalchemy import text

from models.webhook_delivery import DisabledReason
from models.words import EmailKind
from workers.database import Session
from workers.outbox.mails import OwedMail, owe
from workers.requests.queues import Queue
from workers.sql import fetch_value

LOCALE = "fr"
"""The language of these mails: a portal has none of its own."""

# Reads the address of the people who run a portal.
READ_CONTACT = text("SELECT contact FROM portal WHERE id = :portal")

# The day, by which an endpoint that fails is told of once.
READ_DAY = text("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')")


def tell_contact(
    session: Session, portal_id: UUID, endpoint_id: UUID, webhook_id: UUID, *, disabled: DisabledReason | None
) -> None:
    """Owes the mail, if the portal has a contact; of failures once a day, of a disabling each time.

    Parameters:
      webhook_id: the webhook that was tried last, for the mail names the answer.
    """
    contact = fetch_value(session, str, READ_CONTACT, {"portal": portal_id})
    if not contact:
        return
    occasion = f"{disabled}:{webhook_id}" if disabled else fetch_value(session, str, READ_DAY)
    mail = OwedMail(
        EmailKind.WEBHOOKS_FAILING,
        key=f"{endpoint_id}:{occasion}",
        lane=portal_id,
        to_address=contact,
        locale=LOCALE,
        queue=Queue.EMAILS,
        context={"endpoint": str(endpoint_id), "webhook": str(webhook_id)},
    )
    owe(session, [mail])
