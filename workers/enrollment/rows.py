"""The rows an enrollment writes, a statement per kind of row: accounts, enrollments, seats, links, mails, counters."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.person import Person
from models.reminder import REMINDER_STEPS
from models.words import LOCALES, Code, EmailKind
from workers.database import Session
from workers.errors import Transient
from workers.outbox.mails import OwedMail, owe
from workers.requests.queues import Queue
from workers.security.links import offer_links

ROUNDS: Final = 3
"""How often an account that appears and disappears between two statements is looked for."""

READ_ACCOUNTS = text("""
    SELECT id, email_norm, locale, activated_at IS NOT NULL AS activated FROM account
    WHERE email_norm = ANY(CAST(:emails AS text[])) ORDER BY email_norm FOR KEY SHARE""")

# In the order of the address: two transactions inserting the same people in different orders would deadlock.
INSERT_ACCOUNTS = text("""
    INSERT INTO account (id, email_norm, first_name, last_name, locale)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:emails AS text[]), CAST(:first_names AS text[]),
      CAST(:last_names AS text[]), CAST(:locales AS text[])) t (id, email_norm, first_name, last_name, locale)
    ORDER BY email_norm ON CONFLICT (email_norm) DO NOTHING RETURNING email_norm""")

INSERT_ENROLLMENTS = text("""
    WITH joining AS (
      SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:contracts AS uuid[]), CAST(:accounts AS uuid[]),
        CAST(:externals AS text[]), CAST(:jobs AS uuid[]), CAST(:reminded AS bool[]))
        t (id, contract_id, account_id, external_id, job_id, reminded)),
    seats AS (
      INSERT INTO seat_movement (contract_id, enrollment_id, change, job_id)
      SELECT contract_id, id, 1, job_id FROM joining)
    INSERT INTO enrollment (id, contract_id, account_id, external_id, job_id, next_reminder_at)
    SELECT id, contract_id, account_id, external_id, job_id, CASE WHEN reminded THEN now() + :reminded_after END
    FROM joining""")

COUNT_SEATS = text("""
    UPDATE contract c SET enrolled_count = c.enrolled_count + t.taken
    FROM unnest(CAST(:contracts AS uuid[]), CAST(:taken AS int[])) t (id, taken) WHERE c.id = t.id""")


class KnownAccount(NamedTuple):
    """An account that exists, its row held by a key-share lock."""

    id: UUID
    locale: str
    activated: bool


@dataclass(slots=True)
class JoiningPerson:
    """Somebody who gets a seat. `account_id` is set when the account is found or made."""

    person: Person
    code: Code
    position: int
    contract_id: UUID
    company_id: UUID
    job_id: UUID
    notify: bool
    urgent: bool
    enrollment_id: UUID = field(default_factory=new_id)
    account_id: UUID = field(default_factory=new_id)


def read_accounts(session: Session, emails: Sequence[str]) -> dict[str, KnownAccount]:
    """The accounts of these addresses (sorted), held still until the transaction ends."""
    if not emails:
        return {}
    found = session.execute(READ_ACCOUNTS, {"emails": list(emails)})
    return {email: KnownAccount(account_id, locale, activated) for account_id, email, locale, activated in found}


def write(session: Session, joining: Sequence[JoiningPerson], accounts: dict[str, KnownAccount]) -> None:
    """Writes everything these people get; `accounts` gains the accounts made, `joining` its identifiers and codes."""
    if not joining:
        return
    _make_accounts(session, joining, accounts)
    for one in joining:
        one.account_id = accounts[one.person.email_norm].id
    session.execute(
        INSERT_ENROLLMENTS,
        {
            "ids": [one.enrollment_id for one in joining],
            "contracts": [one.contract_id for one in joining],
            "accounts": [one.account_id for one in joining],
            "externals": [one.person.external_id for one in joining],
            "jobs": [one.job_id for one in joining],
            # Whoever is sent a link and may leave it. Whether the contract wants reminders is asked when one is due.
            "reminded": [one.notify and not accounts[one.person.email_norm].activated for one in joining],
            "reminded_after": REMINDER_STEPS[0],
        },
    )
    _owe_mails(session, [one for one in joining if one.notify], accounts)
    taken = Counter(one.contract_id for one in joining)
    session.execute(COUNT_SEATS, {"contracts": list(taken), "taken": list(taken.values())})


def _make_accounts(session: Session, joining: Sequence[JoiningPerson], accounts: dict[str, KnownAccount]) -> None:
    """Makes the accounts that are missing. Somebody else may be making the same: then theirs is read and attached.

    The conflict is read by a new statement, because the one that met it cannot see a row inserted meanwhile.
    """
    missing: dict[str, Person] = {}
    for one in joining:
        if one.person.email_norm not in accounts:
            missing.setdefault(one.person.email_norm, one.person)  # the first who joins gives the names
    made: set[str] = set()
    for _ in range(ROUNDS):
        if not missing:
            break
        made |= _insert_accounts(session, missing, accounts)
        accounts |= read_accounts(session, sorted(missing.keys() - made))
        missing = {email: person for email, person in missing.items() if email not in accounts}
    if missing:
        raise Transient("an account appears and disappears while it is being made")
    for one in joining:
        if one.code is Code.ENROLLED and one.person.email_norm not in made:
            one.code = Code.ATTACHED


def _insert_accounts(session: Session, missing: dict[str, Person], accounts: dict[str, KnownAccount]) -> set[str]:
    people = [missing[email] for email in sorted(missing)]
    ids = [new_id() for _ in people]
    locales = [person.locale or LOCALES[0] for person in people]
    parameters = {
        "ids": ids,
        "emails": [person.email_norm for person in people],
        "first_names": [person.first_name for person in people],
        "last_names": [person.last_name for person in people],
        "locales": locales,
    }
    made = set(session.execute(INSERT_ACCOUNTS, parameters).scalars())
    for person, account_id, locale in zip(people, ids, locales, strict=True):
        if person.email_norm in made:
            accounts[person.email_norm] = KnownAccount(account_id, locale, activated=False)
    return made


def _owe_mails(session: Session, told: Sequence[JoiningPerson], accounts: dict[str, KnownAccount]) -> None:
    if not told:
        return
    _offer_links(session, told, accounts)
    owe(
        session,
        [
            OwedMail(
                EmailKind.INVITATION if one.code is Code.ENROLLED else EmailKind.ATTACHMENT,
                str(one.enrollment_id),
                one.company_id,
                one.person.email_norm,
                accounts[one.person.email_norm].locale,  # an existing account keeps its own
                Queue.EMAILS if one.urgent else Queue.EMAILS_BULK,
                job_id=one.job_id,
                account_id=one.account_id,
                enrollment_id=one.enrollment_id,
                contract_id=one.contract_id,
            )
            for one in told
        ],
    )


def _offer_links(session: Session, told: Sequence[JoiningPerson], accounts: dict[str, KnownAccount]) -> None:
    """An activation link for everybody told who never activated: those attached too, or their mail is a dead end."""
    waiting = {one.account_id: one for one in told if not accounts[one.person.email_norm].activated}
    if not waiting:
        return
    offer_links(session, waiting, known=[one for one, joining in waiting.items() if joining.code is Code.ATTACHED])
