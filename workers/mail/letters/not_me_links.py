"""Makes the link "this is not me" of an attachment mail, one per enrollment, when its letter is written.

Lock order: accounts by address, links by enrollment.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import text

from models.mails import INVITING
from models.words import EmailKind, Purpose
from workers.database import Session, array
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.enrollment import announcement
from workers.mail.letters.facts import MailFacts
from workers.security.links import offer_subject_links

# Holds accounts against the whole-row lock under which an address is corrected and the links to the old one are voided:
# either that correction is seen when the link is made, or it waits and voids the link made here.
LOCK_ACCOUNTS = text("""
    SELECT a.id FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[])) ORDER BY a.email_norm FOR KEY SHARE""")


def hold_accounts(session: Session, accounts: Collection[UUID]) -> None:
    """Locks accounts, so that their addresses stay as they are until this transaction ends."""
    session.execute(LOCK_ACCOUNTS, {"accounts": array(accounts)})


def lacks_link(mail: ClaimedMail, facts: MailFacts) -> bool:
    """Tells whether this becomes an attachment mail without a link, or with one that ended by time or with its key.

    An invitation is one too, once its person has activated their account.
    """
    if mail.kind not in INVITING or mail.expired or facts.suppressed:
        return False
    if announcement(mail, facts) is not EmailKind.ATTACHMENT:
        return False
    if facts.not_me_id is None:
        return True
    return facts.not_me is not None and facts.not_me.ended


def offer_links(session: Session, enrollments: Mapping[UUID, UUID], *, known: Collection[UUID]) -> None:
    """Makes a link for each of these enrollments, unless one was used or voided on purpose.

    Parameters:
      enrollments: the account of each.
      known: the enrollments with a link that has ended.
    """
    hold_accounts(session, set(enrollments.values()))
    offer_subject_links(session, Purpose.NOT_ME, enrollments, ended=known)
