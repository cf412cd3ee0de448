"""The tests of corrected names use these: a requested correction, its answer, and what the account is called."""

from typing import Any
from uuid import UUID

from models.name_correction import RENAMED_CODES
from models.words import Code, Purpose
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import did, query, results
from tests.kit.builders.corrections import code_of, do, token
from workers.corrections.name_answers import confirm_name, refuse_name
from workers.database import Session
from workers.requests.accounts import CorrectName
from workers.requests.internal import CorrectNameByOps

NAMED = "SELECT first_name || ' ' || last_name FROM account a WHERE a.email_norm = :email"
OLD_NAME, NEW_NAME = ("Zoé", "Le Dû"), ("Zoë", "Le Dû-Martin")

MAILS = "SELECT kind, to_address, state FROM email WHERE kind LIKE 'name%' ORDER BY date, id"


def correct_name(
    session: Session, enrollment_id: UUID, first: str | None = NEW_NAME[0], last: str | None = NEW_NAME[1], **more: Any
) -> tuple[str, Any]:
    """Does one request to correct a name; returns its code and its detail."""
    asked = CorrectName(enrollment_id=enrollment_id, first_name=first, last_name=last, requested_by="m-7", **more)
    [job] = did(session, asked)
    [code] = results(job)
    assert job["state"] == ("succeeded" if code in RENAMED_CODES else "refused")
    return code, job["result"]["people"][0]["detail"]


def name_by_ops(
    session: Session, account_id: UUID, first: str | None = NEW_NAME[0], last: str | None = NEW_NAME[1]
) -> str:
    """Corrects a name as an operator; returns the code."""
    asked = CorrectNameByOps(account_id=account_id, first_name=first, last_name=last, reason="asked by the person")
    return code_of(do(session, asked))


def named(session: Session, email: str = "anne@example.com") -> str:
    """Returns the full name of an account."""
    [(name,)] = query(session, NAMED, email=email)
    return str(name)


def name_corrections(session: Session) -> list[tuple[Any, ...]]:
    """Returns state, ground and new last name of each correction, in the order of the requests."""
    return query(session, "SELECT state, ground, new_last_name FROM name_correction ORDER BY asked_at, id")


def name_token(session: Session) -> str:
    """Returns the token of the latest link by which a person confirms a name."""
    return token(session, Purpose.NAME_CONFIRMATION)


def confirm(session: Session, link: str = "") -> str:
    """Confirms the name as the person does; returns `confirmed`, or the code that refuses the link."""
    heard = confirm_name(session, keys(), link or name_token(session))
    return heard.value if isinstance(heard, Code) else "confirmed"


def refuse(session: Session) -> str:
    """Refuses the name as the person does; returns `refused`, or the code that refuses the link."""
    heard = refuse_name(session, keys(), name_token(session))
    return heard.value if isinstance(heard, Code) else "refused"


def name_mails(session: Session) -> list[tuple[Any, ...]]:
    """Returns kind, address and state of each mail about a correction of a name."""
    return query(session, MAILS)
