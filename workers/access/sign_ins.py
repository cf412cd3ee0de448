"""Checking credentials for portals: the same answer in the same time whether or not the address is known.

Three steps, because hashing is slow and must be in no transaction: ``begin`` counts the try as failed before it is
known (of a hundred guesses at the same moment each counts), ``check`` hashes, ``end`` takes the count back on success.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.address import normalise_email
from models.password import MAX_PASSWORD, compose_password
from models.words import Code
from workers.access.passwords import HASHER, hash_password
from workers.audit import record
from workers.database import Session, text_array
from workers.security.lockouts import count_failure, forget_failures, strangers_at, subjects_at, subjects_of
from workers.sql import fetch_one, fetch_value

# The account of an address; an erased account has none. A portal knows the accounts alone that it has enrolled, and
# none that left by "this is not me".
READ_CREDENTIALS = text("""
    SELECT a.id, a.password_hash, a.credential_version FROM account a
    WHERE a.email_norm = :email AND a.erased_at IS NULL AND (CAST(:portal AS uuid) IS NULL OR EXISTS (
      SELECT 1 FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
      WHERE e.account_id = a.id AND c.portal_id = CAST(:portal AS uuid) AND e.detached_at IS NULL
        AND (CAST(:companies AS text[]) IS NULL OR co.reference = ANY(CAST(:companies AS text[])))))""")

# Only the hash that was checked is replaced: the password may have been changed meanwhile.
UPDATE_HASH = text("UPDATE account SET password_hash = :new WHERE id = :id AND password_hash = :old")

# Whether the credentials are still those that were read before the hash was computed.
CHECK_CREDENTIALS = text("SELECT EXISTS (SELECT 1 FROM account a WHERE a.id = :id AND a.credential_version = :version)")


class _StoredCredentials(NamedTuple):
    id: UUID
    password_hash: str | None
    credential_version: int


class SignInDoor(NamedTuple):
    """The portal at which a person signs in.

    Parameters:
      companies: the references of the companies of which it may ask for participants; None for all.
    """

    portal_id: UUID
    companies: Sequence[str] | None = None


class SignInAttempt(NamedTuple):
    """A try that may go on; `password_hash` is the account's, or one that no password has."""

    subjects: Sequence[UUID]
    account_id: UUID | None
    password_hash: str
    credential_version: int


class VerifiedCredentials(NamedTuple):
    """The account that signed in. A session started now ends when the account's `credential_version` moves."""

    account_id: UUID
    credential_version: int


class SignInRefused(NamedTuple):
    """A try that is refused: ``WRONG_CREDENTIALS``, or ``SIGN_IN_LOCKED`` with the moment the lock ends."""

    code: Code
    locked_until: datetime | None = None


class PasswordCheck(NamedTuple):
    """The result of hashing: whether the password is right, and its hash by today's parameters if they changed."""

    right: bool
    new_hash: str | None


def begin(session: Session, email: str, door: SignInDoor | None = None) -> SignInAttempt | SignInRefused:
    """Counts a try against the address and, if it has one, its account; refuses it while one of them is locked.

    Parameters:
      door: the portal at which the person signs in. Its tries count for it alone, so that what is guessed there locks
        the person out nowhere else. Those of a key for some companies lock out no participant of the portal's other
        companies. None for a page of Matricule.
    """
    address = normalise_email(email)
    if isinstance(address, Code):
        return SignInAttempt((), None, _hash_of_no_password(), 0)
    account = fetch_one(session, _StoredCredentials, READ_CREDENTIALS, {"email": address} | _asked(door))
    subjects = _counted(door, subjects_of(address, account.id if account else None), known=account is not None)
    locked_until = count_failure(session, subjects)
    if locked_until is not None:
        return SignInRefused(Code.SIGN_IN_LOCKED, locked_until)
    if account is None or account.password_hash is None:
        return SignInAttempt(subjects, None, _hash_of_no_password(), 0)
    return SignInAttempt(subjects, account.id, account.password_hash, account.credential_version)


def _counted(door: SignInDoor | None, subjects: Sequence[UUID], *, known: bool) -> Sequence[UUID]:
    """Returns the subjects against which a try at this door counts."""
    if door is None:
        return subjects
    if known or door.companies is None:
        return subjects_at(door.portal_id, subjects)
    return strangers_at(door.portal_id, subjects)


def _asked(door: SignInDoor | None) -> dict[str, Any]:
    if door is None:
        return {"portal": None, "companies": None}
    return {"portal": door.portal_id, "companies": None if door.companies is None else text_array(door.companies)}


def check(attempt: SignInAttempt, password: str) -> PasswordCheck:
    """Tells whether this is the password. Never call it inside a transaction.

    It takes a tenth of a second on purpose, also for an address that has no account.
    """
    if len(password) > 4 * MAX_PASSWORD or any("\ud800" <= character <= "\udfff" for character in password):
        password = ""  # no account has it: no longer or unpaired password was ever hashed
    right, new_hash = HASHER.verify_and_update(compose_password(password), attempt.password_hash)
    return PasswordCheck(right and attempt.account_id is not None, new_hash)


def end(session: Session, attempt: SignInAttempt, checked: PasswordCheck) -> VerifiedCredentials | SignInRefused:
    """Takes the count of a right try back, and renews a hash of older parameters."""
    if not checked.right or attempt.account_id is None:
        return SignInRefused(Code.WRONG_CREDENTIALS)
    checked_against = {"id": attempt.account_id, "version": attempt.credential_version}
    if not fetch_value(session, bool, CHECK_CREDENTIALS, checked_against):  # another password was chosen meanwhile
        return SignInRefused(Code.WRONG_CREDENTIALS)
    forget_failures(session, attempt.subjects)
    if checked.new_hash:
        new = {"new": checked.new_hash, "old": attempt.password_hash, "id": attempt.account_id}
        session.execute(UPDATE_HASH, new)
        record(session, "rehash_password", account_id=attempt.account_id)
    return VerifiedCredentials(attempt.account_id, attempt.credential_version)


@lru_cache(maxsize=1)
def _hash_of_no_password() -> str:
    """Returns a hash that takes as long to check as any other, and that no password has."""
    return hash_password(UUID(int=0).hex)
