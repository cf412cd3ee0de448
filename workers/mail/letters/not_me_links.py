"""The link "this is not me" of an attachment mail, one per enrollment, made when its letter is read.

Lock order: accounts by address, links by enrollment.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.mails import INVITING
from models.words import EmailKind, Purpose
from workers.database import Session, array
from workers.engine.ledger import ClaimedRow
from workers.mail.letters.training import announcement
from workers.security.keys import signing_keys
from workers.security.links import offer_subject_links

# Against the whole-row lock under which an address is corrected and the links to the old one are voided: either that is
# seen when the link is made, or it waits and voids the link made here.
LOCK_ACCOUNTS = text("""
    SELECT id FROM account WHERE id = ANY(CAST(:accounts AS uuid[])) ORDER BY email_norm FOR KEY SHARE""")


def hold_accounts(session: Session, accounts: Collection[UUID]) -> None:
    """From here on nobody corrects the addresses of these accounts until this transaction ends."""
    session.execute(LOCK_ACCOUNTS, {"accounts": array(accounts)})


def lacks_link(row: ClaimedRow, fact: Any) -> bool:
    """Whether this is to be an attachment mail without a link, or with one that ended by time or with its key.

    An invitation is one too, once its person has activated their account.
    """
    if row.columns["kind"] not in INVITING or row.columns["expired"] or fact.suppressed:
        return False
    if announcement(row, fact) is not EmailKind.ATTACHMENT:
        return False
    if fact.not_me_id is None:
        return True
    return fact.not_me_live and (fact.not_me_expired or signing_keys().secret(fact.not_me_key) is None)


def offer_links(session: Session, enrollments: Mapping[UUID, UUID], *, known: Collection[UUID]) -> None:
    """A link for each of these enrollments, with the account it is of, unless one was used or voided on purpose.

    Parameters:
      known: those whose link has ended.
    """
    hold_accounts(session, set(enrollments.values()))
    offer_subject_links(session, Purpose.NOT_ME, enrollments, ended=known)
