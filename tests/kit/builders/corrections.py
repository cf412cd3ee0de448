"""The tests of corrected addresses use these: a participant, a requested correction, its links, and time
that passes.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.correction import CORRECTED_CODES
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, Purpose
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import (
    add_contract,
    did,
    enrol_people,
    query,
    results,
    someone,
)
from workers.actors.registry import SERVICES
from workers.corrections.answers import agree_to_correction, confirm_address, refuse_correction
from workers.database import Session, transaction
from workers.engine.ledger import ClaimedRow, JobColumns, WorkOutcome
from workers.requests.accounts import CorrectEmail
from workers.requests.base import Request
from workers.requests.internal import ApplyCorrections, CorrectEmailByOps
from workers.security.tokens import make_token

OLD, NEW, OTHER = "anne@example.com", "anne.new@example.org", "other@example.org"

ACCOUNTS = """
    SELECT email_norm, count(e.id) FROM account a LEFT JOIN enrollment e ON e.account_id = a.id
    GROUP BY a.id ORDER BY email_norm"""
"""Selects each address and its number of enrollments."""

FIND = """
    SELECT e.id FROM enrollment e JOIN account a ON a.id = e.account_id JOIN contract c ON c.id = e.contract_id
    WHERE a.email_norm = :email AND c.reference = :contract"""

LIVE = "SELECT purpose FROM link WHERE consumed_at IS NULL AND voided_at IS NULL ORDER BY purpose"

ACTIVATE = text("""
    WITH used AS (
      UPDATE link SET consumed_at = now() WHERE account_id = (SELECT id FROM account WHERE email_norm = :email))
    UPDATE account SET activated_at = now(), password_hash = :hash WHERE email_norm = :email""")

MAILS = """
    SELECT kind, to_address, state FROM email WHERE kind LIKE 'correction%' OR state <> 'sent'
    ORDER BY kind, to_address, id"""


def participant(
    session: Session, email: str = OLD, *, activated: bool = True, contract: str = "C-1", company: str = "acme"
) -> UUID:
    """Enrolls a person and records their mails as sent; returns the enrollment."""
    add_contract(session, contract, 100, company=company)
    enrol_people(session, someone(email), contract=contract)
    session.execute(text("UPDATE email SET state = 'sent', due_at = NULL, finished_at = now()"))
    if activated:
        activate(session, email)
    [(enrollment_id,)] = query(session, FIND, email=email, contract=contract)
    return enrollment_id  # type: ignore[no-any-return]


def committed_participant(*, activated: bool = True, pending: bool = False) -> UUID:
    """Commits a participant and a contract of another company; `pending` also requests a correction."""
    with transaction() as session:
        enrollment_id = participant(session, activated=activated)
        add_contract(session, "C-2", 5, company="other")
        if pending:
            correct(session, enrollment_id)
        return enrollment_id


def enrol_also(session: Session, email: str = OLD, *, contract: str = "C-2", company: str = "other") -> UUID:
    """Enrolls the same person on another contract, which belongs to another company by default."""
    add_contract(session, contract, 100, company=company)
    enrol_people(session, someone(email), contract=contract)
    [(enrollment_id,)] = query(session, FIND, email=email, contract=contract)
    return enrollment_id  # type: ignore[no-any-return]


def activate(session: Session, email: str = OLD, password_hash: str = "old") -> None:
    """Activates the account with this password hash."""
    session.execute(ACTIVATE, {"email": email, "hash": password_hash})


def correct(session: Session, enrollment_id: UUID, email: str = NEW, **more: Any) -> tuple[str, Any]:
    """Does one request to correct an address; returns its code and its detail."""
    [job] = did(session, CorrectEmail(enrollment_id=enrollment_id, email=email, requested_by="m-7", **more))
    [code] = results(job)
    assert job["state"] == ("succeeded" if code in CORRECTED_CODES else "refused")
    return code, job["result"]["people"][0]["detail"]


def do(session: Session, request: Request, *, portal_id: UUID = LOCAL_PORTAL_ID) -> WorkOutcome:
    """Returns the outcome of the service for this request, without a job."""
    columns = JobColumns(request.kind, portal_id, request.model_dump_json(), 0, request.requested_by)
    [outcome] = SERVICES[request.kind](session, [ClaimedRow(new_id(), 1, 0, 0, new_id(), columns)])
    return outcome


def code_of(outcome: WorkOutcome) -> str:
    """Returns the only code of an outcome."""
    [code] = (outcome.result or {})["counts"]
    return str(code)


def sweep(session: Session) -> dict[str, int]:
    """Does the scheduled work on corrections, which runs every five minutes."""
    return dict((do(session, ApplyCorrections()).result or {})["corrections"])


def by_ops(session: Session, account_id: UUID, email: str = NEW) -> str:
    """Corrects an address as an operator; returns the code."""
    return code_of(do(session, CorrectEmailByOps(account_id=account_id, email=email, reason="lost its mailbox")))


def account(session: Session) -> tuple[Any, ...]:
    """Returns address, whether activated, and credential version of the account with the oldest enrollment."""
    [found] = query(
        session,
        "SELECT email_norm, activated_at IS NOT NULL, credential_version FROM account"
        " WHERE id = (SELECT account_id FROM enrollment ORDER BY enrolled_at, id LIMIT 1)",
    )
    return found


def account_id(session: Session, email: str = OLD) -> UUID:
    [(found,)] = query(session, "SELECT id FROM account WHERE email_norm = :email", email=email)
    return found  # type: ignore[no-any-return]


def corrections(session: Session) -> list[tuple[Any, ...]]:
    """Returns state, ground and new address of each correction, in the order of the requests."""
    return query(session, "SELECT state, ground, new_email FROM email_correction ORDER BY asked_at, id")


def mails(session: Session) -> list[tuple[Any, ...]]:
    """Returns kind, address and state of the mails about corrections and of the other unsent mails."""
    return query(session, MAILS)


def token(session: Session, purpose: Purpose = Purpose.CORRECTION_CONFIRMATION) -> str:
    """Returns the token of the latest link of this purpose."""
    found = query(
        session,
        "SELECT id, account_id, key_id, version FROM link WHERE purpose = :purpose ORDER BY created_at DESC, id DESC",
        purpose=purpose,
    )
    link_id, whose, key_id, version = found[0]
    return make_token(keys(), key_id=key_id, link_id=link_id, purpose=purpose, version=version, account_id=whose)


def answer_token(session: Session) -> str:
    """Returns the token of the link in the mail to the old address."""
    return token(session, Purpose.CORRECTION_ANSWER)


def notice_sent(session: Session, hours: int = 0) -> None:
    """Records that the relay accepted the notice to the old address this many hours ago."""
    session.execute(
        text("""
            UPDATE email SET state = 'sent', due_at = NULL, leased_until = NULL,
              finished_at = now() - make_interval(hours => :hours)
            WHERE kind = 'correction_notice'"""),
        {"hours": hours},
    )


def later(session: Session, days: float) -> None:
    """Moves corrections, links, rate limits and sent mails this many days into the past."""
    for statement in (
        (
            "UPDATE email_correction SET asked_at = asked_at - make_interval(secs => :s),"
            " ended_at = ended_at - make_interval(secs => :s), confirmed_at = confirmed_at - make_interval(secs => :s)"
        ),
        "UPDATE link SET expires_at = expires_at - make_interval(secs => :s)",
        "UPDATE throttle SET at = at - make_interval(secs => :s)",
        "UPDATE email SET finished_at = finished_at - make_interval(secs => :s)",
    ):
        session.execute(text(statement), {"s": days * 86_400})


def confirm(session: Session, *, password_given: bool = False) -> str:
    """Confirms the new address; returns the state of the correction, or the code that refuses the link."""
    heard = confirm_address(session, keys(), token(session), password_given=password_given)
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value


def agree(session: Session) -> str:
    """Agrees to the correction from the old address; returns the state of the correction, or the code that refuses the
    link.
    """
    heard = agree_to_correction(session, keys(), answer_token(session))
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value


def refuse(session: Session) -> str:
    """Refuses the correction from the old address; returns the state of the correction, or the code that refuses the
    link.
    """
    heard = refuse_correction(session, keys(), answer_token(session))
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value
