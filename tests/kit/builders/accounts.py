"""Builders of accounts, links, enrollments and mails, written straight into the tables."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.words import Purpose
from workers.database import Session
from workers.security.tokens import SigningKeys, make_token
from workers.settings import get_settings

PASSWORD = "quatre mots bien longs"

ACCOUNT = text("""
    INSERT INTO account (id, email_norm, first_name, last_name, locale)
    VALUES (:id, :email, :first_name, 'Durand', :locale)""")

LINK = text("""
    INSERT INTO link (id, purpose, account_id, key_id, expires_at)
    VALUES (:id, :purpose, :account_id, 'test', now() + CAST(:lives AS interval))""")

ENROLLMENT = text("""
    WITH c AS (INSERT INTO company (id, portal_id, reference, name)
      SELECT :id, id, :id, 'Acmé' FROM portal RETURNING *),
    t AS (INSERT INTO training (id, portal_id, reference, title)
      SELECT :id, id, :id, 'Secourisme' FROM portal RETURNING *),
    k AS (INSERT INTO contract (id, portal_id, reference, company_id, training_id, planned_seats)
      SELECT :id, c.portal_id, :id, c.id, t.id, 5 FROM c, t RETURNING id)
    INSERT INTO enrollment (id, contract_id, account_id) SELECT :id, k.id, :account_id FROM k""")

EMAIL = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      account_id, enrollment_id, due_at, leased_until)
    VALUES (:id, :kind, 'emails', :id, :id, 'x@acme.test', 'fr', '<x@y>', now(), now() + interval '2 days', :state,
      :account_id, :enrollment_id, CASE WHEN :waits THEN now() END, CASE WHEN :leased THEN now() END)""")


def keys() -> SigningKeys:
    return SigningKeys.parse(get_settings().link_keys)


def make_account(
    session: Session, email: str = "elodie@acme.test", *, first_name: str = "Élodie", locale: str = "fr"
) -> UUID:
    account_id = new_id()
    session.execute(ACCOUNT, {"id": account_id, "email": email, "first_name": first_name, "locale": locale})
    return account_id


def make_link(
    session: Session, account_id: UUID, *, purpose: Purpose = Purpose.ACTIVATION, lives: str = "1 day"
) -> tuple[UUID, str]:
    """Creates a link of an account; returns its identifier and its token."""
    link_id = new_id()
    session.execute(LINK, {"id": link_id, "purpose": purpose, "account_id": account_id, "lives": lives})
    return link_id, token_of(link_id, account_id, purpose=purpose)


def token_of(link_id: UUID, account_id: UUID, *, purpose: Purpose = Purpose.ACTIVATION, version: int = 1) -> str:
    return make_token(keys(), key_id="test", link_id=link_id, purpose=purpose, version=version, account_id=account_id)


def make_enrollment(session: Session, account_id: UUID) -> UUID:
    enrollment_id = new_id()
    session.execute(ENROLLMENT, {"id": enrollment_id, "account_id": account_id})
    return enrollment_id


def make_email(session: Session, enrollment_id: UUID, account_id: UUID, **columns: Any) -> UUID:
    email_id = new_id()
    chosen = {"kind": "invitation", "state": "owed", "waits": True, "leased": False} | columns
    session.execute(EMAIL, {"id": email_id, "enrollment_id": enrollment_id, "account_id": account_id} | chosen)
    return email_id
