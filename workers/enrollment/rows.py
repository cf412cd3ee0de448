"""The rows of people who are enrolled, a statement per kind: accounts, enrollments, seats, links, mails, counters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.account import Account
from models.base import new_id
from models.contract import Contract
from models.enrollment import Enrollment
from models.names import FullName
from models.person import Person
from models.reminder import REMINDER_STEPS
from models.search_words import words_of
from models.words import LOCALES, Code, EmailKind
from workers.database import Session, text_array
from workers.errors import Transient
from workers.outbox.mails import OwedMail, owe
from workers.requests.queues import Queue
from workers.security.links import offer_links
from workers.sql import Unnest, fetch, fetch_values

ROUNDS: Final = 3
"""How often the accounts that another request makes and removes between two statements are looked for."""


class KnownAccount(NamedTuple):
    """An account that exists, its row held by a key-share lock."""

    id: UUID
    email_norm: str
    first_name: str
    last_name: str
    locale: str
    activated: bool

    @property
    def name(self) -> FullName:
        """The name that the account was registered with, and keeps."""
        return FullName(self.first_name, self.last_name)


class _NewAccount(NamedTuple):
    id: UUID
    email_norm: str
    first_name: str
    last_name: str
    locale: str


class _NewEnrollment(NamedTuple):
    id: UUID
    contract_id: UUID
    account_id: UUID
    external_id: str | None
    job_id: UUID
    reminded: bool
    attached: bool
    first_name: str
    last_name: str
    words: str
    account_words: str | None


class _TakenSeats(NamedTuple):
    id: UUID
    taken: int


_NEW_ACCOUNTS: Final = Unnest(_NewAccount, Account, alias="given")
_NEW_ENROLLMENTS: Final = Unnest(
    _NewEnrollment,
    Enrollment,
    alias="given",
    others={"reminded": "bool", "attached": "bool", "account_words": "text"},
)
_TAKEN_SEATS: Final = Unnest(_TakenSeats, Contract, alias="given", others={"taken": "int"})

# The lock keeps each address as it is until the enrollment is written, and keeps no other enrollment waiting.
READ_ACCOUNTS = text("""
    SELECT a.id, a.email_norm, a.first_name, a.last_name, a.locale, a.activated_at IS NOT NULL AS activated
    FROM account a
    WHERE a.email_norm = ANY(CAST(:emails AS text[])) ORDER BY a.email_norm FOR KEY SHARE""")

# In the order of the address: two transactions that insert the same people in different orders would deadlock.
INSERT_ACCOUNTS = text(f"""
    INSERT INTO account ({_NEW_ACCOUNTS.columns})
    SELECT * FROM {_NEW_ACCOUNTS} ORDER BY email_norm ON CONFLICT (email_norm) DO NOTHING RETURNING email_norm""")

# The history of seats and the words by which people are found get their rows in the same statement. The names that were
# typed are kept where another portal enrolled the person first: this one is not shown that portal's.
INSERT_ENROLLMENTS = text(f"""
    WITH joining AS (
      SELECT given.*, CASE WHEN given.attached THEN (
          SELECT (SELECT fc.portal_id FROM contract fc WHERE fc.id = fe.contract_id) FROM enrollment fe
          WHERE fe.account_id = given.account_id ORDER BY fe.enrolled_at, fe.id LIMIT 1)
        IS DISTINCT FROM (SELECT c.portal_id FROM contract c WHERE c.id = given.contract_id)
        ELSE false END AS known_elsewhere
      FROM {_NEW_ENROLLMENTS}),
    found AS (
      SELECT id, contract_id, CASE WHEN known_elsewhere THEN words ELSE coalesce(account_words, words) END AS words
      FROM joining),
    searched AS (
      INSERT INTO participant_word (contract_id, word, enrollment_id)
      SELECT contract_id, word, id FROM found CROSS JOIN LATERAL unnest(string_to_array(words, ' ')) word),
    seats AS (
      INSERT INTO seat_movement (contract_id, enrollment_id, change, job_id)
      SELECT contract_id, id, 1, job_id FROM joining)
    INSERT INTO enrollment (id, contract_id, account_id, external_id, job_id, next_reminder_at, first_name, last_name,
      words)
    SELECT j.id, j.contract_id, j.account_id, j.external_id, j.job_id,
      CASE WHEN j.reminded THEN now() + :reminded_after END,
      CASE WHEN j.known_elsewhere THEN j.first_name END, CASE WHEN j.known_elsewhere THEN j.last_name END, found.words
    FROM joining j JOIN found ON found.id = j.id""")

# The rows of the contracts are held since the plan was made: no other transaction counts meanwhile.
COUNT_SEATS = text(f"""
    UPDATE contract c SET enrolled_count = c.enrolled_count + given.taken FROM {_TAKEN_SEATS} WHERE c.id = given.id""")


NO_ACCOUNT: Final = UUID(int=0)
"""The account of a person who gets a seat, until their account is known."""


class JoiningPerson(NamedTuple):
    """A person who gets a seat. It is a named tuple because one request makes 100,000 of them.

    Parameters:
      code: `enrolled` or `attached`; as it was planned, until the account is known.
      account_id: ``NO_ACCOUNT`` until the account is known.
      account_name: the name that the account has; None until the account is known.
    """

    person: Person
    code: Code
    position: int
    contract_id: UUID
    company_id: UUID
    job_id: UUID
    notify: bool
    urgent: bool
    enrollment_id: UUID
    account_id: UUID = NO_ACCOUNT
    account_name: FullName | None = None


def read_accounts(session: Session, emails: Sequence[str]) -> dict[str, KnownAccount]:
    """Returns the accounts of these addresses, which no other transaction changes until this one ends."""
    found = fetch(session, KnownAccount, READ_ACCOUNTS, {"emails": text_array(emails)}) if emails else ()
    return {account.email_norm: account for account in found}


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
    new = _NEW_ENROLLMENTS.parameters([_enrollment(one, known[one.person.email_norm]) for one in joining])
    session.execute(INSERT_ENROLLMENTS, new | {"reminded_after": REMINDER_STEPS[0]})
    _owe_mails(session, [one for one in joining if one.notify], known)
    taken = Counter(one.contract_id for one in joining)
    session.execute(COUNT_SEATS, _TAKEN_SEATS.parameters([_TakenSeats(*seats) for seats in taken.items()]))
    return {one.enrollment_id: one for one in joining}


def _enrollment(one: JoiningPerson, account: KnownAccount) -> _NewEnrollment:
    """Returns the row of an enrollment. A person who is sent a link and may leave it unused is to be reminded.

    The contract is asked later whether it wants reminders: when one is due.
    """
    person, attached = one.person, one.code is Code.ATTACHED
    other_name = attached and account.name != (person.first_name, person.last_name)
    return _NewEnrollment(
        id=one.enrollment_id,
        contract_id=one.contract_id,
        account_id=one.account_id,
        external_id=person.external_id,
        job_id=one.job_id,
        reminded=one.notify and not account.activated,
        attached=attached,
        first_name=person.first_name,
        last_name=person.last_name,
        words=words_of(person.first_name, person.last_name, person.email_norm, person.external_id),
        account_words=words_of(*account.name, person.email_norm, person.external_id) if other_name else None,
    )


def _with_account(planned: JoiningPerson, known: Mapping[str, KnownAccount], made: AbstractSet[str]) -> JoiningPerson:
    """Returns the person with their account. An account that another request made meanwhile is attached, not made."""
    email = planned.person.email_norm
    lost = planned.code is Code.ENROLLED and email not in made
    account, code = known[email], Code.ATTACHED if lost else planned.code
    return planned._replace(account_id=account.id, account_name=account.name, code=code)


def _make_accounts(
    session: Session, planned: Sequence[JoiningPerson], accounts: Mapping[str, KnownAccount]
) -> tuple[dict[str, KnownAccount], set[str]]:
    """Makes the accounts that are missing; one that another request makes at the same moment is read instead.

    The conflict is read by a new statement, because the one that met it cannot see a row inserted meanwhile.

    Returns: all accounts by address, and the addresses of those made here.
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
    made = set(fetch_values(session, str, INSERT_ACCOUNTS, _NEW_ACCOUNTS.parameters(new)))
    return {one.email_norm: KnownAccount(*one, activated=False) for one in new if one.email_norm in made}


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
    """Offers an activation link to each person who never activated their account.

    People who are attached need one too, or their mail would be a dead end.
    """
    waiting = {one.account_id: one for one in told if not accounts[one.person.email_norm].activated}
    if not waiting:
        return
    offer_links(session, waiting, known=[one for one, joining in waiting.items() if joining.code is Code.ATTACHED])
