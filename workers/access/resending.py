"""Links sent again: password resets and invitations, for one person or ten thousand, a statement per kind of row.

Lock order: job rows, accounts by address, throttles, links by account, enrollments by id. Nobody's contract is locked.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from models.link import LINK_LIFETIME, MAILED, PASSWORD_PURPOSES, LinkHolder, ResendVerdict
from models.throttle import Allowance
from models.words import Code, EmailKind, Purpose
from workers.database import Session
from workers.enrollment.reminder_resuming import resume_enrollments
from workers.outbox.mails import OwedMail, owe
from workers.requests.queues import Queue
from workers.security.links import LiveLink, read_live_links, resend_links
from workers.security.throttles import (
    WIDE,
    ThrottleSubject,
    count,
    hold,
    read_allowances,
)


class LockedRecipient(NamedTuple):
    """Somebody whose account's row this transaction holds, and the enrollment their mail speaks of, if it does."""

    account_id: UUID
    email: str
    locale: str
    activated: bool
    withdrawn_at: datetime | None
    enrollment_id: UUID | None
    contract_id: UUID | None
    detached_at: datetime | None
    suppressed: datetime | None

    @property
    def gone(self) -> bool:
        """No longer on the contract: withdrawn, or detached by themselves."""
        return self.withdrawn_at is not None or self.detached_at is not None

    @property
    def purpose(self) -> Purpose:
        """Which of their links they are sent."""
        return Purpose.PASSWORD_RESET if self.activated else Purpose.ACTIVATION


NOBODY: Final = ResendVerdict(Code.NOT_FOUND)


@dataclass(slots=True)
class ResendRequest:
    """One person asked for in one job.

    Parameters:
      lane: whose mails take turns with others': the company, or the portal where nobody's company asked.
      recipient: who it is, or None for nobody.
      subjects: against whom it counts.
      answer: what came of it.
      mailed: whether this ask owes the mail; False for a person named twice in one job.
    """

    job_id: UUID
    position: int
    lane: UUID
    queue: Queue
    recipient: LockedRecipient | None
    subjects: tuple[ThrottleSubject, ...]
    answer: ResendVerdict = NOBODY
    mailed: bool = False


Rule = Callable[[LinkHolder | None, Sequence[Allowance]], ResendVerdict]
"""Decides what happens to one person (``models/link.py``)."""


def send_again(session: Session, asks: Sequence[ResendRequest], rule: Rule) -> None:
    """Answers each ask, in order, and writes what follows: throttles, links with more time, mails, reminders."""
    subjects = {subject for ask in asks if ask.recipient for subject in ask.subjects}
    hold(session, [subject for subject in subjects if subject.scope in WIDE])  # accounts are held by their rows
    allowances = read_allowances(session, subjects)
    _decide(asks, rule, allowances, _read_links(session, asks))
    count(session, allowances)
    mailed = [ask for ask in asks if ask.mailed]
    for purpose in PASSWORD_PURPOSES:
        resend_links(
            session, purpose, Counter(r.account_id for a in mailed if (r := a.recipient) and r.purpose is purpose)
        )
    _owe_mails(session, mailed)
    invited = [r for ask in mailed if (r := ask.recipient) and not r.activated]
    resume_enrollments(session, [r.enrollment_id for r in invited if r.enrollment_id])


def counts(asks: Sequence[ResendRequest]) -> dict[str, Any]:
    """A job's result as a whole."""
    return {"counts": dict(Counter(ask.answer.code for ask in asks))}


def moment_json(answer: ResendVerdict) -> dict[str, str] | None:
    """What explains a code: from when on it may be asked again, or since when it is so."""
    if answer.moment is None:
        return None
    return {"from" if answer.code is Code.THROTTLED else "since": answer.moment.isoformat()}


def _read_links(session: Session, asks: Sequence[ResendRequest]) -> dict[UUID, LiveLink]:
    found: dict[UUID, LiveLink] = {}
    for purpose in PASSWORD_PURPOSES:
        accounts = {r.account_id for ask in asks if (r := ask.recipient) and r.purpose is purpose}
        found |= read_live_links(session, purpose, accounts)
    return found


def _decide(
    asks: Sequence[ResendRequest], rule: Rule, allowances: dict[ThrottleSubject, Allowance], links: dict[UUID, LiveLink]
) -> None:
    """A fold in the order asked: what one ask took, the next does not find."""
    answered: dict[tuple[UUID, UUID], ResendVerdict] = {}
    for ask in asks:
        person = ask.recipient
        if person is None:
            ask.answer = rule(None, ())
            continue
        known = answered.get((ask.job_id, person.account_id)) if not person.gone else None
        ask.answer = known or rule(_holder(person, links), [allowances[subject] for subject in ask.subjects])
        ask.mailed = known is None and ask.answer.code in MAILED
        if not person.gone:
            answered[ask.job_id, person.account_id] = ask.answer
        if ask.mailed:
            now, link = allowances[ask.subjects[0]].now, links.get(person.account_id)
            links[person.account_id] = LiveLink(link.resent + 1 if link else 0, now + LINK_LIFETIME[person.purpose])


def _holder(person: LockedRecipient, links: dict[UUID, LiveLink]) -> LinkHolder:
    link = links.get(person.account_id)
    resent, ends_at = link or (0, None)
    return LinkHolder(person.withdrawn_at, person.activated, resent, ends_at, person.detached_at, person.suppressed)


def _owe_mails(session: Session, mailed: Sequence[ResendRequest]) -> None:
    """Owes one mail per job and account: a job that is done again owes no other."""
    owe(session, [_mail(ask, ask.recipient) for ask in mailed if ask.recipient])


def _mail(ask: ResendRequest, person: LockedRecipient) -> OwedMail:
    kind = EmailKind.PASSWORD_RESET if person.activated else EmailKind.INVITATION
    return OwedMail(
        kind,
        f"{ask.job_id}:{person.account_id}",
        ask.lane,
        person.email,
        person.locale,
        ask.queue,
        job_id=ask.job_id,
        account_id=person.account_id,
        enrollment_id=person.enrollment_id,
        contract_id=person.contract_id,
        context={"again": True},  # of no use to a person who activated meanwhile
    )
