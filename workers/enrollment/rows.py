"""The rows an enrollment writes, a statement per kind of row: accounts, enrollments, seats, links, mails, counters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.account import Account
from models.base import new_id
from models.person import Person
from models.reminder import REMINDER_STEPS
from models.words import LOCALES, Code, EmailKind
from workers.database import Session
from workers.errors import Transient
from workers.outbox.mails import OwedMail, owe
from workers.requests.queues import Queue
from workers.security.links import offer_links
from workers.sql import Unnest

ROUNDS: Final = 3
"""How often an account that appears and disappears between two statements is looked for."""


class _NewAccount(NamedTuple):
    id: UUID
    email_norm: str
    first_name: str
    last_name: str
    locale: str


_NEW_ACCOUNTS: Final = Unnest(_NewAccount, Account, alias="given")

READ_ACCOUNTS = text("""
    SELECT id, email_norm, locale, activated_at IS NOT NULL AS activated FROM account
    WHERE email_norm = ANY(CAST(:emails AS text[])) ORDER BY email_norm FOR KEY SHARE""")

# In the order of the address: two transactions that insert the same people in different orders would deadlock.
INSERT_ACCOUNTS = text(f"""
    INSERT INTO account ({_NEW_ACCOUNTS.columns})
    SELECT * FROM {_NEW_ACCOUNTS} ORDER BY email_norm ON CONFLICT (email_norm) DO NOTHING RETURNING email_norm""")

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


@dataclass(frozen=True, slots=True)
class JoiningPerson:
    """A person who gets a seat.

    Parameters:
      code: `enrolled` or `attached`; what was planned, until the account is known.
      account_id: an account of their own, until it is known that there is another.
    """

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


def write(
    session: Session, planned: Sequence[JoiningPerson], accounts: Mapping[str, KnownAccount]
) -> dict[UUID, JoiningPerson]:
    """Writes everything these people get.

    Returns: the people by enrollment, with the account each really has and the code that says so.
    """
    if not planned:
        return {}
    known, made = _make_accounts(session, planned, accounts)
    joining = [_with_account(one, known, made) for one in planned]
    session.execute(
        INSERT_ENROLLMENTS,
        {
            "ids": [one.enrollment_id for one in joining],
            "contracts": [one.contract_id for one in joining],
            "accounts": [one.account_id for one in joining],
            "externals": [one.person.external_id for one in joining],
            "jobs": [one.job_id for one in joining],
            # Whoever is sent a link and may leave it. Whether the contract wants reminders is asked when one is due.
            "reminded": [one.notify and not known[one.person.email_norm].activated for one in joining],
            "reminded_after": REMINDER_STEPS[0],
        },
    )
    _owe_mails(session, [one for one in joining if one.notify], known)
    taken = Counter(one.contract_id for one in joining)
    session.execute(COUNT_SEATS, {"contracts": list(taken), "taken": list(taken.values())})
    return {one.enrollment_id: one for one in joining}


def _with_account(planned: JoiningPerson, known: Mapping[str, KnownAccount], made: AbstractSet[str]) -> JoiningPerson:
    """The person with their account. An account that another request made meanwhile is attached, not made."""
    email = planned.person.email_norm
    lost = planned.code is Code.ENROLLED and email not in made
    return replace(planned, account_id=known[email].id, code=Code.ATTACHED if lost else planned.code)


def _make_accounts(
    session: Session, planned: Sequence[JoiningPerson], accounts: Mapping[str, KnownAccount]
) -> tuple[dict[str, KnownAccount], set[str]]:
    """Makes the accounts that are missing; one that another request makes at the same moment is read instead.

    The conflict is read by a new statement, because the one that met it cannot see a row inserted meanwhile.

    Returns: all accounts by address, and the addresses whose account was made here.
    """
    known, made = dict(accounts), set[str]()
    missing: dict[str, Person] = {}
    for one in planned:
        if one.person.email_norm not in known:
            missing.setdefault(one.person.email_norm, one.person)  # the first who joins gives the names
    for _ in range(ROUNDS):
        if not missing:
            return known, made
        inserted = _insert_accounts(session, [missing[email] for email in sorted(missing)])
        made |= inserted.keys()
        known |= inserted | read_accounts(session, sorted(missing.keys() - made))
        missing = {email: person for email, person in missing.items() if email not in known}
    if missing:
        raise Transient("an account appears and disappears while it is being made")
    return known, made


def _insert_accounts(session: Session, people: Sequence[Person]) -> dict[str, KnownAccount]:
    """Inserts accounts for people in the order of their addresses; returns those that were really made."""
    new = [
        _NewAccount(new_id(), one.email_norm, one.first_name, one.last_name, one.locale or LOCALES[0]) for one in people
    ]
    made = set(session.execute(INSERT_ACCOUNTS, _NEW_ACCOUNTS.parameters(new)).scalars())
    return {one.email_norm: KnownAccount(one.id, one.locale, activated=False) for one in new if one.email_norm in made}


def _owe_mails(session: Session, told: Sequence[JoiningPerson], accounts: Mapping[str, KnownAccount]) -> None:
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


def _offer_links(session: Session, told: Sequence[JoiningPerson], accounts: Mapping[str, KnownAccount]) -> None:
    """An activation link for everybody told who never activated: those attached too, or their mail is a dead end."""
    waiting = {one.account_id: one for one in told if not accounts[one.person.email_norm].activated}
    if not waiting:
        return
    offer_links(session, waiting, known=[one for one, joining in waiting.items() if joining.code is Code.ATTACHED])
