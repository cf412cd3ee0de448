"""The link "this is not me" of an attachment mail, one per enrollment, made when its letter is read.

Lock order: accounts by address, links by enrollment.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.link import LINK_LIFETIME
from models.words import EmailKind, Purpose
from workers.database import Session, array
from workers.engine.ledger import ClaimedRow
from workers.mail.letters.training import announcement
from workers.security.keys import signing_keys

ANNOUNCEMENTS: Final = (EmailKind.INVITATION, EmailKind.ATTACHMENT)

# Against the whole-row lock under which an address is corrected and the links to the old one are voided: either that is
# seen by INSERT, or it waits and voids the link made here.
LOCK_ACCOUNTS = text("""
    SELECT id FROM account WHERE id = ANY(CAST(:accounts AS uuid[])) ORDER BY email_norm FOR KEY SHARE""")

VOID_DEAD_LINKS = text("""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE subject_id = ANY(CAST(:enrollments AS uuid[])) AND purpose = 'not_me'
        AND consumed_at IS NULL AND voided_at IS NULL
        AND (expires_at <= now() OR NOT key_id = ANY(CAST(:keys AS text[])))
      ORDER BY subject_id FOR NO KEY UPDATE) dead
    WHERE link.id = dead.id RETURNING link.id""")

# None for an enrollment whose link was used, or voided on purpose; of two mailers at once the second finds the first's.
INSERT_LINKS = text("""
    INSERT INTO link (id, purpose, account_id, subject_id, key_id, expires_at)
    SELECT t.id, 'not_me', t.account_id, t.enrollment_id, :newest, now() + :lifetime
    FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[]), CAST(:enrollments AS uuid[]))
      t (id, account_id, enrollment_id)
    WHERE NOT EXISTS (
      SELECT 1 FROM link known WHERE known.account_id = t.account_id AND known.subject_id = t.enrollment_id
        AND known.purpose = 'not_me' AND NOT known.id = ANY(CAST(:replaced AS uuid[])))
    ORDER BY t.enrollment_id
    ON CONFLICT (subject_id, purpose) WHERE consumed_at IS NULL AND voided_at IS NULL AND subject_id IS NOT NULL
    DO NOTHING""")


def hold_accounts(session: Session, accounts: Collection[UUID]) -> None:
    """From here on nobody corrects the addresses of these accounts until this transaction ends."""
    session.execute(LOCK_ACCOUNTS, {"accounts": array(accounts)})


def lacks_link(row: ClaimedRow, fact: Any) -> bool:
    """Whether this is to be an attachment mail without a link, or with one that ended by time or with its key.

    An invitation is one too, once its person has activated their account.
    """
    if row.columns["kind"] not in ANNOUNCEMENTS or row.columns["expired"] or fact.suppressed:
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
    keys = signing_keys()
    dead = {"enrollments": array(known), "keys": list(keys.key_ids)}
    replaced = session.execute(VOID_DEAD_LINKS, dead).scalars().all() if known else ()
    session.execute(
        INSERT_LINKS,
        {
            "ids": array(new_id() for _ in enrollments),
            "accounts": array(enrollments.values()),
            "enrollments": array(enrollments),
            "newest": keys.newest,
            "lifetime": LINK_LIFETIME[Purpose.NOT_ME],
            "replaced": array(replaced),
        },
    )
