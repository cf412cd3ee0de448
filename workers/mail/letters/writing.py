"""Writes letters for claimed mails: reads the facts, replaces links that ended, and lets each kind be written.

A link that ended before its mail was sent is replaced, so that no owed mail is a dead end; the link "this is not me" of
an attachment mail is made here. Lock order: the caller's mails, accounts by address, links.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from models.email import SuppressionReason
from models.link import PASSWORD_PURPOSES
from models.mails import for_every_kind
from models.words import EmailKind, EmailState, Purpose
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.mail.claimed import ClaimedMail
from workers.mail.letters import (
    correction,
    duplicate,
    enrollment,
    enrollment_report,
    import_report,
    seats,
)
from workers.mail.letters.facts import MailedLink, MailFacts, read_facts
from workers.mail.letters.letter import Letter, Writer, not_wanted
from workers.mail.letters.not_me_links import hold_accounts, lacks_link, offer_links
from workers.security.links import replace_dead_links

WRITERS: Final[Mapping[EmailKind, Writer]] = for_every_kind(
    {
        **correction.WRITERS,
        **duplicate.WRITERS,
        **enrollment.WRITERS,
        **enrollment_report.WRITERS,
        **import_report.WRITERS,
        **seats.WRITERS,
    },
    "functions that write them (workers/mail/letters)",
)
"""The function that writes each kind of mail, registered beside its letter."""

Facts = Mapping[UUID, MailFacts]


def write_letters(session: Session, rows: Sequence[ClaimedRow]) -> list[Letter]:
    """Writes each claimed mail, in the order given; links that ended meanwhile are replaced."""
    mails = [ClaimedMail.of(row) for row in rows]
    facts: Facts = read_facts(session, mails)
    if ended := _ended_links(mails, facts):
        _replace_links(session, ended, _without_not_me(mails, facts))
        facts = read_facts(session, mails)
    if attachments := _without_not_me(mails, facts):
        _offer_not_me(session, attachments)
        # The other mails lacked nothing when they were looked at.
        facts = {**facts, **read_facts(session, [mail for mail in mails if mail.id in attachments])}
    return [_write(session, mail, facts.get(mail.id)) for mail in mails]


def _ended_links(mails: Sequence[ClaimedMail], facts: Facts) -> list[MailedLink]:
    """Returns the links of these mails that ended by time or with their key."""
    links = (_link_to_carry(mail, facts[mail.id]) for mail in mails if mail.id in facts)
    return [link for link in links if link is not None and link.ended]


def _link_to_carry(mail: ClaimedMail, facts: MailFacts) -> MailedLink | None:
    if mail.expired or facts.suppressed or facts.has_left or facts.erased or facts.moved:
        return None
    if not mail.spec.chooses_password or (facts.activated and facts.link_purpose == Purpose.ACTIVATION):
        return None
    return facts.link


def _replace_links(session: Session, ended: Sequence[MailedLink], attachments: Facts) -> None:
    accounts = {link.account_id for link in ended}
    attached = {facts.account_id for facts in attachments.values() if facts.account_id}
    if attached:  # all accounts at once, in their order: they are also held one purpose after the other below
        hold_accounts(session, attached | accounts)
    for purpose in PASSWORD_PURPOSES:
        if of_purpose := {link.account_id for link in ended if link.purpose == purpose}:
            replace_dead_links(session, of_purpose, purpose)


def _without_not_me(mails: Sequence[ClaimedMail], facts: Facts) -> Facts:
    """Returns the facts of the attachment mails that lack a link "this is not me" or have one that ended."""
    return {mail.id: facts[mail.id] for mail in mails if mail.id in facts and lacks_link(mail, facts[mail.id])}


def _offer_not_me(session: Session, attachments: Facts) -> None:
    people = [(one.enrollment_id, one.account_id, one.not_me_id) for one in attachments.values()]
    offer_links(
        session,
        {enrollment: account for enrollment, account, _ in people if enrollment and account},
        known={enrollment for enrollment, _, link in people if enrollment and link},
    )


def _write(session: Session, mail: ClaimedMail, facts: MailFacts | None) -> Letter:
    if mail.expired:
        return not_wanted(mail, EmailState.EXPIRED)
    if facts is None or facts.erased:  # the person was erased while a mailer held the mail
        return not_wanted(mail)
    if facts.moved and mail.spec.follows_account:
        return not_wanted(mail)
    if facts.suppressed and not _sent_despite(mail, facts):
        return not_wanted(mail, EmailState.SUPPRESSED)
    return WRITERS[mail.kind](session, mail, facts)


def _sent_despite(mail: ClaimedMail, facts: MailFacts) -> bool:
    """Tells whether a mail goes to an address although it is on the suppression list.

    A person who may lose their account is asked even if a mail to them bounced before: only an answer of today shows
    that their mailbox does not exist. An address that ops listed gets no mail, and its silence counts for nothing.
    """
    asks = mail.spec.despite_bounce and not mail.context.get("done")
    return asks and facts.suppressed == SuppressionReason.HARD_BOUNCE
