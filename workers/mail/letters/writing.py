"""Writes letters for claimed mails: reads the facts, replaces links that ended, and lets each kind be written.

A link that ended before its mail was sent is replaced, so that no owed mail is a dead end; the link "this is not me" of
an attachment mail is made here. Lock order: the mails of the caller, accounts by address, links. A batch for which
nothing has to be recorded is written without any lock.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import text

from models.email import SuppressionReason
from models.link import PASSWORD_PURPOSES
from models.mails import INVITING, for_every_kind
from models.words import EmailKind, EmailState, Purpose
from workers.database import Session, array
from workers.engine.ledger import ClaimedRow, MailColumns
from workers.mail.claimed import ClaimedMail
from workers.mail.letters import (
    correction,
    duplicate,
    enrollment,
    enrollment_report,
    import_report,
    name,
    seats,
    undeliverable,
    webhooks,
)
from workers.mail.letters.facts import MailedLink, MailFacts, read_facts
from workers.mail.letters.letter import Letter, Writer, not_wanted
from workers.security.links import offer_subject_links, replace_dead_links

WRITERS: Final[Mapping[EmailKind, Writer]] = for_every_kind(
    {
        **correction.WRITERS,
        **duplicate.WRITERS,
        **enrollment.WRITERS,
        **enrollment_report.WRITERS,
        **import_report.WRITERS,
        **name.WRITERS,
        **seats.WRITERS,
        **undeliverable.WRITERS,
        **webhooks.WRITERS,
    },
    "functions that write them (workers/mail/letters)",
)
"""The function that writes each kind of mail, registered beside its letter."""

# Holds accounts against the whole-row lock under which an address is corrected and the links to the old one are voided:
# either that correction is seen when the link is made, or it waits and voids the link made here.
LOCK_ACCOUNTS = text("""
    SELECT a.id FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[])) ORDER BY a.email_norm FOR KEY SHARE""")

Facts = Mapping[UUID, MailFacts]


def write_letters(session: Session, rows: Sequence[ClaimedRow[MailColumns]]) -> list[Letter]:
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


def look_up_letters(session: Session, rows: Sequence[ClaimedRow[MailColumns]]) -> list[Letter] | None:
    """Writes letters from a plain look at the facts, if nothing has to be recorded for any of these claimed mails.

    Most batches are so: nothing is locked and nothing is committed before the mails leave. It is as safe as
    :func:`write_letters`, for two reasons.

    * *The claim.* Holding the rows proves for the time of a transaction that they are ours, and that transaction ends
      before the mail leaves too. Here the same is seen by a look at the claims. What keeps a mail from being sent twice
      is the same in both cases: its lease is checked just before DATA, and its outcome is recorded with its claim.
    * *The facts.* A change of an account, an enrollment or a link that commits after this look finds a mail on its way.
      It finds the same after the commit of :func:`write_letters`: no lock of it lasts until the mail leaves.

    Returns: the letters in the order given; None when a link has to be replaced or made, a letter ends unsent, a mail
    is no longer ours, or its kind reads or changes more than the facts.
    """
    mails = [ClaimedMail.of(row) for row in rows]
    if not all(mail.kind in enrollment.WRITERS for mail in mails):
        return None
    facts = read_facts(session, mails)
    if not all(_is_held(mail, facts.get(mail.id)) for mail in mails):
        return None
    if _ended_links(mails, facts) or _without_not_me(mails, facts):
        return None
    letters = [_write(session, mail, facts[mail.id]) for mail in mails]
    return None if any(letter.unsent for letter in letters) else letters


def _is_held(mail: ClaimedMail, facts: MailFacts | None) -> bool:
    return facts is not None and facts.leased and facts.claim == mail.row.claim


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
        _lock_accounts(session, attached | accounts)
    for purpose in PASSWORD_PURPOSES:
        if of_purpose := {link.account_id for link in ended if link.purpose == purpose}:
            replace_dead_links(session, of_purpose, purpose)


def _without_not_me(mails: Sequence[ClaimedMail], facts: Facts) -> Facts:
    """Returns the facts of the attachment mails that lack a link "this is not me" or have one that ended."""
    return {mail.id: facts[mail.id] for mail in mails if mail.id in facts and _lacks_not_me(mail, facts[mail.id])}


def _lacks_not_me(mail: ClaimedMail, facts: MailFacts) -> bool:
    """Tells whether this becomes an attachment mail without a link, or with one that ended by time or with its key.

    An invitation is one too, once its person has activated their account.
    """
    if mail.kind not in INVITING or mail.expired or facts.suppressed:
        return False
    if enrollment.announcement(mail, facts) is not EmailKind.ATTACHMENT:
        return False
    if facts.not_me_id is None:
        return True
    return facts.not_me is not None and facts.not_me.ended


def _offer_not_me(session: Session, attachments: Facts) -> None:
    """Makes a link for each of these attachment mails, unless one was used or voided on purpose."""
    people = attachments.values()
    accounts = {one.enrollment_id: one.account_id for one in people if one.enrollment_id and one.account_id}
    ended = {one.enrollment_id for one in people if one.enrollment_id and one.not_me_id}
    _lock_accounts(session, set(accounts.values()))
    offer_subject_links(session, Purpose.NOT_ME, accounts, ended=ended)


def _lock_accounts(session: Session, accounts: Collection[UUID]) -> None:
    session.execute(LOCK_ACCOUNTS, {"accounts": array(accounts)})


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
