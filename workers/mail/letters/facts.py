"""Reads the facts that mails state, at the moment when a mail is about to be sent.

An owed row holds identifiers only: names, titles and links are read here, and not kept once the mail has left.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.account import GREETED
from models.mails import ENDING, MAILS, quoted
from models.words import EmailKind, Purpose
from workers.database import Session
from workers.mail.claimed import ClaimedMail
from workers.security.keys import signing_keys
from workers.security.links import LIVE
from workers.security.tokens import link_url, make_token
from workers.settings import get_settings
from workers.sql import fetch, joined

_PASSWORD_PURPOSE: Final = "CASE m.kind {} END".format(
    " ".join(f"WHEN '{kind}' THEN '{spec.link}'" for kind, spec in MAILS.items() if spec.chooses_password)
)
"""An SQL value: the purpose of the link to the choice of a password that a mail carries, NULL where it carries none."""

# Reads a batch of mails with the facts that most of them state; it locks nothing. An invitation to a person who has
# activated their account meanwhile is an attachment mail, and so carries the link "this is not me". LIMIT 1, although
# there is only one link: a planner that has not counted the links yet would read all of them for each mail.
READ_FACTS = text(f"""
    SELECT m.id, m.account_id, m.enrollment_id, {GREETED} AS first_name, a.activated_at IS NOT NULL AS activated,
      a.erased_at IS NOT NULL OR m.to_address = '' AS erased,
      coalesce(m.to_address <> a.email_norm, false) AS moved, listed.reason AS suppressed,
      co.name AS company_name, tr.title AS training_title, coalesce(tr.access_url, po.access_url) AS access_url,
      c.reference AS contract_reference, c.reminders,
      c.release_after_days, coalesce(e.withdrawn_at, e.detached_at) IS NOT NULL AS has_left, e.progress,
      e.enrolled_at, e.release_warned_at,
      m.kind IN ({quoted(ENDING)}) AND EXISTS (
        SELECT 1 FROM enrollment again WHERE again.contract_id = m.contract_id AND again.account_id = m.account_id
          AND again.withdrawn_at IS NULL) AS enrolled_again,
      now() AS now,
      chosen.id AS link_id, chosen.purpose AS link_purpose, chosen.key_id AS link_key_id,
      chosen.version AS link_version, chosen.expires_at AS link_expires_at, chosen.expires_at <= now() AS link_expired,
      denied.id AS not_me_id, denied.key_id AS not_me_key_id, denied.version AS not_me_version,
      denied.expires_at AS not_me_expires_at, denied.expires_at <= now() AS not_me_expired, denied.live AS not_me_live,
      m.claim, m.leased_until IS NOT NULL AS leased
    FROM email m
    LEFT JOIN contract c ON c.id = m.contract_id
    LEFT JOIN company co ON co.id = c.company_id
    LEFT JOIN training tr ON tr.id = c.training_id
    LEFT JOIN portal po ON po.id = c.portal_id
    LEFT JOIN account a ON a.id = m.account_id
    LEFT JOIN enrollment e ON e.id = m.enrollment_id
    LEFT JOIN LATERAL (
      SELECT l.id, l.purpose, l.key_id, l.version, l.expires_at FROM link l
      WHERE l.account_id = m.account_id AND {LIVE} AND l.purpose = {_PASSWORD_PURPOSE} LIMIT 1
    ) chosen ON true
    LEFT JOIN LATERAL (
      SELECT l.id, l.key_id, l.version, l.expires_at, {LIVE} AS live FROM link l
      WHERE l.account_id = m.account_id AND l.subject_id = m.enrollment_id AND l.purpose = '{Purpose.NOT_ME}'
        AND (m.kind = '{EmailKind.ATTACHMENT}'
          OR (m.kind = '{EmailKind.INVITATION}' AND a.activated_at IS NOT NULL))
      ORDER BY live DESC LIMIT 1
    ) denied ON true
    LEFT JOIN LATERAL (
      SELECT su.reason FROM suppression su
      WHERE su.email_norm = m.to_address AND (su.until IS NULL OR su.until > now()) LIMIT 1
    ) listed ON true
    WHERE m.id = ANY(CAST(:ids AS uuid[]))""")


class MailedLink(NamedTuple):
    """A link that a mail carries.

    Parameters:
      expired: its time is over.
    """

    id: UUID
    account_id: UUID
    purpose: str
    key_id: str
    version: int
    expires_at: datetime
    expired: bool

    @property
    def ended(self) -> bool:
        """Tells whether the link leads nowhere: its time is over, or the key that signed it was withdrawn."""
        return self.expired or signing_keys().secret(self.key_id) is None

    @property
    def address(self) -> str:
        """The address of the page that the link leads to."""
        token = make_token(
            signing_keys(),
            key_id=self.key_id,
            link_id=self.id,
            purpose=Purpose(self.purpose),
            version=self.version,
            account_id=self.account_id,
        )
        return link_url(get_settings().link_base_url, token)


class MailFacts(NamedTuple):
    """The facts of one mail; those of an account, an enrollment or a contract that it does not have are None.

    Parameters:
      erased: the person was erased, or the address was taken from the mail.
      moved: the account has another address by now.
      suppressed: the reason why no mail is sent to the address at the moment.
      has_left: the person was withdrawn from the enrollment, or detached themselves.
      enrolled_again: the person of a mail about the end of an enrollment is on the same contract again.
      access_url: where the training is reached; None when neither it nor its portal says.
      link_id: the link to the choice of a password; None when it was used or voided on purpose.
      not_me_id: the link "this is not me"; `not_me_live` is false once it was used or voided on purpose.
      claim, leased: the fencing token of the last claim of the mail, and whether that claim still holds it.
    """

    id: UUID
    account_id: UUID | None
    enrollment_id: UUID | None
    first_name: str | None
    activated: bool
    erased: bool
    moved: bool
    suppressed: str | None
    company_name: str | None
    training_title: str | None
    access_url: str | None
    contract_reference: str | None
    reminders: bool | None
    release_after_days: int | None
    has_left: bool
    progress: str | None
    enrolled_at: datetime | None
    release_warned_at: datetime | None
    enrolled_again: bool
    now: datetime
    link_id: UUID | None
    link_purpose: str | None
    link_key_id: str | None
    link_version: int | None
    link_expires_at: datetime | None
    link_expired: bool | None
    not_me_id: UUID | None
    not_me_key_id: str | None
    not_me_version: int | None
    not_me_expires_at: datetime | None
    not_me_expired: bool | None
    not_me_live: bool | None
    claim: int
    leased: bool

    @property
    def link(self) -> MailedLink | None:
        """The link to the choice of a password, if the mail carries one."""
        return joined(
            MailedLink,
            *(self.link_id, self.account_id, self.link_purpose, self.link_key_id, self.link_version),
            *(self.link_expires_at, self.link_expired),
        )

    @property
    def not_me(self) -> MailedLink | None:
        """The link "this is not me", if it was neither used nor voided on purpose."""
        if not self.not_me_live:
            return None
        return joined(
            MailedLink,
            *(self.not_me_id, self.account_id, Purpose.NOT_ME, self.not_me_key_id, self.not_me_version),
            *(self.not_me_expires_at, self.not_me_expired),
        )


def read_facts(session: Session, mails: Sequence[ClaimedMail]) -> dict[UUID, MailFacts]:
    """Returns the facts of these mails by identifier, without mails that no longer exist."""
    return {facts.id: facts for facts in fetch(session, MailFacts, READ_FACTS, {"ids": [mail.id for mail in mails]})}
