"""What tests of corrected addresses share: somebody enrolled, a correction asked for, its links, time that passes."""

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
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.requests.accounts import CorrectEmail
from workers.requests.base import Request
from workers.requests.internal import ApplyCorrections, CorrectEmailByOps
from workers.security.tokens import make_token

OLD, NEW, OTHER = "anne@example.com", "anne.new@example.org", "other@example.org"

ACCOUNTS = """
    SELECT email_norm, count(e.id) FROM account a LEFT JOIN enrollment e ON e.account_id = a.id
    GROUP BY a.id ORDER BY email_norm"""
"""Addresses and how many enrollments each has."""

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
    """Somebody enrolled who had their mail; returns the enrollment."""
    add_contract(session, contract, 100, company=company)
    enrol_people(session, someone(email), contract=contract)
    session.execute(text("UPDATE email SET state = 'sent', due_at = NULL, finished_at = now()"))
    if activated:
        activate(session, email)
    [(enrollment_id,)] = query(session, FIND, email=email, contract=contract)
    return enrollment_id  # type: ignore[no-any-return]


def committed_participant(*, activated: bool = True, pending: bool = False) -> UUID:
    """The same, committed, beside a contract of another company; a correction may wait already."""
    with transaction() as session:
        enrollment_id = participant(session, activated=activated)
        add_contract(session, "C-2", 5, company="other")
        if pending:
            correct(session, enrollment_id)
        return enrollment_id


def enrol_also(session: Session, email: str = OLD, *, contract: str = "C-2", company: str = "other") -> UUID:
    """Enrols the same person on another contract, of another company unless told otherwise."""
    add_contract(session, contract, 100, company=company)
    enrol_people(session, someone(email), contract=contract)
    [(enrollment_id,)] = query(session, FIND, email=email, contract=contract)
    return enrollment_id  # type: ignore[no-any-return]


def activate(session: Session, email: str = OLD, password_hash: str = "old") -> None:
    """They choose a password."""
    session.execute(ACTIVATE, {"email": email, "hash": password_hash})


def correct(session: Session, enrollment_id: UUID, email: str = NEW, **more: Any) -> tuple[str, Any]:
    """Does one request; returns its code and detail."""
    [job] = did(session, CorrectEmail(enrollment_id=enrollment_id, email=email, requested_by="m-7", **more))
    [code] = results(job)
    assert job["state"] == ("succeeded" if code in CORRECTED_CODES else "refused")
    return code, job["result"]["people"][0]["detail"]


def do(session: Session, request: Request, *, portal_id: UUID = LOCAL_PORTAL_ID) -> WorkOutcome:
    """What its service does and answers, without a job."""
    columns = {
        "kind": request.kind,
        "request": request.model_dump_json(),
        "portal_id": portal_id,
        "requested_by": request.requested_by,
    }
    [outcome] = SERVICES[request.kind](session, [ClaimedRow(new_id(), 1, 0, 0, new_id(), columns)])
    return outcome


def code_of(outcome: WorkOutcome) -> str:
    """The only code of an outcome."""
    [code] = (outcome.result or {})["counts"]
    return str(code)


def sweep(session: Session) -> dict[str, int]:
    """What the schedule does each five minutes."""
    return dict((do(session, ApplyCorrections()).result or {})["corrections"])


def by_ops(session: Session, account_id: UUID, email: str = NEW) -> str:
    """What ops do."""
    return code_of(do(session, CorrectEmailByOps(account_id=account_id, email=email, reason="lost its mailbox")))


def account(session: Session) -> tuple[Any, ...]:
    """Address, whether activated, and version of the only account that is anne's."""
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
    """State, ground and new address of each, in the order asked."""
    return query(session, "SELECT state, ground, new_email FROM email_correction ORDER BY asked_at, id")


def mails(session: Session) -> list[tuple[Any, ...]]:
    """Kind, address and state of mails about corrections, and of others not sent yet."""
    return query(session, MAILS)


def token(session: Session, purpose: Purpose = Purpose.CORRECTION_CONFIRMATION) -> str:
    """The token of the latest link of this purpose."""
    found = query(
        session,
        "SELECT id, account_id, key_id, version FROM link WHERE purpose = :purpose ORDER BY created_at DESC, id DESC",
        purpose=purpose,
    )
    link_id, whose, key_id, version = found[0]
    return make_token(keys(), key_id=key_id, link_id=link_id, purpose=purpose, version=version, account_id=whose)


def answer_token(session: Session) -> str:
    """The token the old address has."""
    return token(session, Purpose.CORRECTION_ANSWER)


def notice_sent(session: Session, hours: int = 0) -> None:
    """The relay took the notice so many hours ago."""
    session.execute(
        text("""
            UPDATE email SET state = 'sent', due_at = NULL, leased_until = NULL,
              finished_at = now() - make_interval(hours => :hours)
            WHERE kind = 'correction_notice'"""),
        {"hours": hours},
    )


def later(session: Session, days: float) -> None:
    """Lets time pass for corrections, their links and what counts against them."""
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
    """The new address confirms; returns what becomes of the correction, or why the link is of no use."""
    heard = confirm_address(session, keys(), token(session), password_given=password_given)
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value


def agree(session: Session) -> str:
    """The old address agrees."""
    heard = agree_to_correction(session, keys(), answer_token(session))
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value


def refuse(session: Session) -> str:
    """The old address says no."""
    heard = refuse_correction(session, keys(), answer_token(session))
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value
