"""What a claimed mail says: the facts as they stand when it is sent, and the link it carries.

The owed row holds identifiers only; names, titles and links are looked up here and forgotten after sending. A link that
ended before its mail was sent is replaced, so that no owed mail is a dead end. Lock order: the caller's mails, accounts
by address, links.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.words import Code, EmailKind, EmailState, Purpose
from workers.database import Session
from workers.errors import Permanent
from workers.ledger import Claimed
from workers.requests import Enroll, PersonToEnroll, parse
from workers.services.keys import signing_keys
from workers.services.links import replace_dead_links
from workers.settings import get_settings
from workers.tokens import link_url, make_token

# LIMIT 1, of which there is only one: else a planner that has not counted the links yet reads all of them each time.
FACTS = text("""
    SELECT e.id, e.account_id, l.purpose, a.first_name, a.activated_at IS NOT NULL AS activated,
      company.name AS company_name,
      training.title AS training_title, n.withdrawn_at IS NOT NULL AS withdrawn, l.id AS link_id, l.key_id, l.version,
      l.expires_at, l.expires_at <= now() AS link_expired,
      e.kind = :withdrawal AND EXISTS (
        SELECT 1 FROM enrollment again WHERE again.contract_id = e.contract_id AND again.account_id = e.account_id
          AND again.withdrawn_at IS NULL) AS enrolled_again
    FROM email e
    LEFT JOIN contract ON contract.id = e.contract_id
    LEFT JOIN company ON company.id = contract.company_id
    LEFT JOIN training ON training.id = contract.training_id
    LEFT JOIN account a ON a.id = e.account_id
    LEFT JOIN enrollment n ON n.id = e.enrollment_id
    LEFT JOIN LATERAL (
      SELECT * FROM link WHERE link.account_id = e.account_id AND link.consumed_at IS NULL AND link.voided_at IS NULL
        AND link.purpose = CASE e.kind WHEN 'password_reset' THEN 'password_reset' ELSE 'activation' END LIMIT 1
    ) l ON true
    WHERE e.id = ANY(CAST(:ids AS uuid[]))""")

JOB = text("SELECT kind, CAST(request AS text) AS request, state, result FROM job WHERE id = :id")

CODES = text("SELECT position, code FROM job_person WHERE job_id = :id ORDER BY position")


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail ready to be rendered, or the state in which it ends without being sent.

    Parameters:
      row: the claimed mail.
      kind: the templates to render; may differ from the row's (an invitation to somebody who has activated meanwhile
        only announces the training).
      context: values for the templates; empty when the mail is not to be sent.
      unsent: why it is not to be sent, or None.
    """

    row: Claimed
    kind: EmailKind
    context: Mapping[str, Any]
    unsent: EmailState | None = None


def read_letters(session: Session, rows: Sequence[Claimed]) -> list[Letter]:
    """What each claimed mail says, in the order given; links that ended meanwhile are replaced."""
    facts = _read_facts(session, rows)
    ended = {
        (facts[row.id].account_id, facts[row.id].purpose)
        for row in rows
        if row.id in facts and _link_ended(row, facts[row.id])
    }
    if ended:
        for purpose in Purpose:
            if accounts := {account for account, of in ended if of == purpose}:
                replace_dead_links(session, accounts, purpose)
        facts = _read_facts(session, rows)
    return [_letter(session, row, facts.get(row.id)) for row in rows]


def _read_facts(session: Session, rows: Sequence[Claimed]) -> dict[UUID, Any]:
    found = session.execute(FACTS, {"ids": [row.id for row in rows], "withdrawal": EmailKind.WITHDRAWAL})
    return {fact.id: fact for fact in found}


def _link_ended(row: Claimed, fact: Any) -> bool:
    """Whether this mail is to carry a link that time or the withdrawal of its key has ended."""
    if row.columns["expired"] or fact.withdrawn or fact.link_id is None:
        return False
    if fact.activated and fact.purpose == Purpose.ACTIVATION:
        return False
    return fact.link_expired or signing_keys().secret(fact.key_id) is None


def _letter(session: Session, row: Claimed, fact: Any) -> Letter:
    kind = EmailKind(row.columns["kind"])
    if row.columns["expired"]:
        return Letter(row, kind, {}, EmailState.EXPIRED)
    if fact is None or (fact.withdrawn and kind is not EmailKind.WITHDRAWAL):
        return Letter(row, kind, {}, EmailState.CANCELLED)
    if kind is EmailKind.ENROLLMENT_REPORT:  # also of a request on an unknown contract: then both names are None
        return Letter(row, kind, _names(fact) | _report(session, row.columns["job_id"]))
    if kind is EmailKind.PASSWORD_RESET:
        return _reset(row, fact)
    return _withdrawal(row, fact) if kind is EmailKind.WITHDRAWAL else _announcement(row, kind, fact)


def _announcement(row: Claimed, kind: EmailKind, fact: Any) -> Letter:
    """An invitation or an attachment mail. An invitation sent again is of no use to who has activated meanwhile."""
    again = bool(row.columns["context"] and row.columns["context"].get("again"))
    if fact.company_name is None or (fact.activated and again):
        return Letter(row, kind, {}, EmailState.CANCELLED)
    link = None if fact.activated or fact.link_id is None else _link(fact)
    if link is None and not fact.activated:
        return Letter(row, kind, {}, EmailState.CANCELLED)  # voided on purpose: whoever did that owes another mail
    return Letter(row, kind if link else EmailKind.ATTACHMENT, _names(fact) | _person(fact, link))


def _withdrawal(row: Claimed, fact: Any) -> Letter:
    """Not sent to whoever is enrolled on the same contract again by now: it would arrive after the new invitation."""
    if not fact.withdrawn or fact.enrolled_again:
        return Letter(row, EmailKind.WITHDRAWAL, {}, EmailState.CANCELLED)
    return Letter(row, EmailKind.WITHDRAWAL, _names(fact) | _to_a_person(fact))


def _reset(row: Claimed, fact: Any) -> Letter:
    """A reset; none to who has chosen a password since it was asked for, which used or voided the link."""
    if fact.link_id is None:
        return Letter(row, EmailKind.PASSWORD_RESET, {}, EmailState.CANCELLED)
    asker = {"company_name": fact.company_name}  # None when the person asked, not their company
    return Letter(row, EmailKind.PASSWORD_RESET, asker | _person(fact, _link(fact)))


def _names(fact: Any) -> dict[str, Any]:
    return {"company_name": fact.company_name, "training_title": fact.training_title}


def _person(fact: Any, link: str | None) -> dict[str, Any]:
    return _to_a_person(fact) | {"link": link, "expires_at": fact.expires_at if link else None}


def _to_a_person(fact: Any) -> dict[str, Any]:
    settings = get_settings()
    return {
        "first_name": fact.first_name,
        "platform_name": settings.platform_name,
        "support_address": settings.support_address,
    }


def _link(fact: Any) -> str:
    token = make_token(
        signing_keys(),
        key_id=fact.key_id,
        link_id=fact.link_id,
        purpose=Purpose(fact.purpose),
        version=fact.version,
        account_id=fact.account_id,
    )
    return link_url(get_settings().link_base_url, token)


def _report(session: Session, job_id: UUID) -> dict[str, Any]:
    """What happened to each person of a job, with the names and addresses the manager gave, not those of accounts."""
    job = session.execute(JOB, {"id": job_id}).one()
    request = parse(job.kind, job.request)
    if not isinstance(request, Enroll):
        raise Permanent("a report of a job that enrols nobody")
    result = job.result or {}
    codes = {person["position"]: person["code"] for person in result.get("people", ())}
    codes |= {row.position: row.code for row in session.execute(CODES, {"id": job_id})}
    return {
        "job_id": str(job_id),
        "state": job.state,
        "contract_reference": request.contract,
        "planned_seats": result.get("planned_seats", 0),
        "enrolled_count": result.get("enrolled_count", 0),
        "remaining": result.get("remaining", 0),
        "counts": Counter(codes.values()),
        "people": [_reported(index, person, codes) for index, person in enumerate(request.people)],
    }


def _reported(index: int, person: PersonToEnroll, codes: Mapping[int, str]) -> dict[str, Any]:
    return {
        "position": index + 1,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "code": codes.get(index, Code.NOT_CARRIED_OUT),
    }
