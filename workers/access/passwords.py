"""The link "choose a password": the one transaction in which it is used up."""

from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import text

from models.link import PASSWORD_PURPOSES
from models.password import compose_password
from models.words import Code
from workers.audit import record
from workers.database import Session
from workers.outbox.events import tell_activated
from workers.security.link_views import LinkView, hold_link, look_at_link
from workers.security.links import LIVE as LIVE_LINK
from workers.security.lockouts import forget_everywhere, subjects_of
from workers.security.tokens import SigningKeys
from workers.sql import change, fetch_value

HASHER: Final = PasswordHash((Argon2Hasher(),))
"""Argon2id with the parameters of RFC 9106, section 4, second choice: a hash takes 64 MiB and a tenth of a second."""

# The whole row, against the key-share lock under which an enrollment decides that this account needs an activation
# link: it either commits before us and its link is voided here, or waits and sees an activated account.
LOCK_ACCOUNT = text("SELECT id FROM account WHERE id = :id FOR UPDATE")

# The first password activates the account; every one ends the sessions that were begun before. Tells whether it is the
# first.
SET_PASSWORD = text("""
    UPDATE account SET password_hash = :password_hash, activated_at = coalesce(activated_at, now()),
      credential_version = credential_version + 1
    WHERE id = :id RETURNING activated_at = now() AS activated""")

# Links that say "this is not me" stay: they set no password, and the mail of one may be about another company. So do
# links that confirm a name: the same person reads the mail as before.
USE_UP_LINKS = text(f"""
    UPDATE link l SET consumed_at = CASE WHEN l.id = :link_id THEN now() END,
      voided_at = CASE WHEN l.id <> :link_id THEN now() END
    WHERE l.account_id = :account_id AND {LIVE_LINK} AND l.purpose NOT IN ('not_me', 'name_confirmation')""")

# In the order of the id, as every transaction locks enrollments.
END_REMINDERS = text("""
    UPDATE enrollment SET next_reminder_at = NULL FROM (
      SELECT e.id FROM enrollment e WHERE e.account_id = :account_id AND e.next_reminder_at IS NOT NULL
      ORDER BY e.id FOR NO KEY UPDATE) reminded
    WHERE enrollment.id = reminded.id""")


def hash_password(password: str) -> str:
    """Hashes a password that was checked. It is slow on purpose: never call it inside a transaction."""
    return HASHER.hash(compose_password(password))


def choose_password(session: Session, keys: SigningKeys, token: str, password_hash: str) -> LinkView | Code:
    """Gives the account its password and uses the link up; the account is activated if it never was.

    Every other way to set a password ends here: the account's other links are voided and its sessions end
    (``credential_version``). The person is not reminded any more. Of two choices at the same moment one is made; the
    other, which waited for the account's lock, reads the link again and answers ``USED_LINK``. Invitations not yet sent
    stay owed, because the link may have come by another mail: they are sent without a link and tell of their training
    (``workers/mail/letters/enrollment.py``).

    Parameters:
      password_hash: from ``hash_password``, computed before the transaction.

    Returns:
      The link and its account when the password was set, else why nothing was changed (as ``look_at_link``).
    """
    claimed = look_at_link(session, keys, token)
    if isinstance(claimed, Code):
        return claimed
    if claimed.purpose not in PASSWORD_PURPOSES:
        return Code.INVALID_LINK
    session.execute(LOCK_ACCOUNT, {"id": claimed.account_id})
    view = hold_link(session, keys, token)
    if isinstance(view, Code):
        return view
    if fetch_value(session, bool, SET_PASSWORD, {"id": view.account_id, "password_hash": password_hash}):
        tell_activated(session, view.account_id)
    ids = {"account_id": view.account_id, "link_id": view.link_id}
    forget_everywhere(session, subjects_of(view.email, view.account_id))
    used_up = change(session, USE_UP_LINKS, ids)
    session.execute(END_REMINDERS, ids)
    detail = {"purpose": view.purpose, "links_voided": used_up - 1}
    record(session, "choose_password", account_id=view.account_id, subject_id=view.link_id, detail=detail)
    return view
