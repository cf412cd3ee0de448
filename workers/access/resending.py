"""Links sent again: password resets and invitations, for one person or ten thousand, a statement per kind of row.

Lock order: job rows, accounts by address, throttles, links by account, enrollments by id. No contract is locked.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from models.link import LINK_LIFETIME, MAILED, PASSWORD_PURPOSES, LinkHolder, ResendVerdict, ThrottledVerdict
from models.throttle import Allowance
from models.words import Code, EmailKind, Purpose
from workers.database import Session
from workers.enrollment.reminders import resume_reminders
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
    """A person with the account's row locked by this transaction, and the enrollment their mail speaks of, if any.

    Parameters:
      suppressed: since when no mail is sent to the address, or None.
    """

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
    def has_left(self) -> bool:
        """Whether the person is no longer on the contract: withdrawn, or detached by themselves."""
        return self.withdrawn_at is not None or self.detached_at is not None

    @property
    def purpose(self) -> Purpose:
        """The purpose of the link they are sent."""
        return Purpose.PASSWORD_RESET if self.activated else Purpose.ACTIVATION


class ResendRequest(NamedTuple):
    """One person who is to be sent their link again, as one job asks.

    Parameters:
      position: the place of the person in the job's request.
      lane: the lane of the mail: the company, or the portal where no company asked.
      recipient: the person, or None when there is none.
      subjects: the throttle subjects that count the mail.
    """

    job_id: UUID
    position: int
    lane: UUID
    queue: Queue
    recipient: LockedRecipient | None
    subjects: tuple[ThrottleSubject, ...]


class ResendAnswer(NamedTuple):
    """The answer to one request; `mailed` is False for a person who is there twice in one job, but for the first."""

    request: ResendRequest
    verdict: ResendVerdict
    mailed: bool

    @property
    def account_id(self) -> UUID | None:
        """The account of the person, None when there is none."""
        return self.request.recipient.account_id if self.request.recipient else None

    @property
    def moment_json(self) -> dict[str, str] | None:
        """The moment that explains the code: from when on it may be asked again, or since when it is so."""
        moment = self.verdict.moment
        if moment is None:
            return None
        return {"from" if self.verdict.code is Code.THROTTLED else "since": moment.isoformat()}


ResendRule = Callable[[LinkHolder | None, Sequence[Allowance]], ThrottledVerdict]
"""Decides about one person (``models/link.py``), and counts the mail when one is sent."""


def resend(session: Session, requests: Sequence[ResendRequest], rule: ResendRule) -> list[ResendAnswer]:
    """Answers the requests, in order, and writes what follows: throttles, links with more time, mails, reminders."""
    subjects = {subject for request in requests if request.recipient for subject in request.subjects}
    hold(session, [subject for subject in subjects if subject.scope in WIDE])  # accounts are held by their rows
    answers, allowances = _decide(requests, rule, read_allowances(session, subjects), _read_links(session, requests))
    count(session, allowances)
    mailed = [(answer.request, person) for answer in answers if answer.mailed and (person := answer.request.recipient)]
    for purpose in PASSWORD_PURPOSES:
        resend_links(session, purpose, Counter(one.account_id for _, one in mailed if one.purpose is purpose))
    owe(session, [_mail(request, person) for request, person in mailed])
    invited = [person.enrollment_id for _, person in mailed if not person.activated]
    resume_reminders(session, [one for one in invited if one])
    return answers


def counts_json(answers: Sequence[ResendAnswer]) -> dict[str, Any]:
    """Returns a job's result as a whole."""
    return {"counts": dict(Counter(answer.verdict.code for answer in answers))}


def _read_links(session: Session, requests: Sequence[ResendRequest]) -> dict[UUID, LiveLink]:
    found: dict[UUID, LiveLink] = {}
    for purpose in PASSWORD_PURPOSES:
        accounts = {r.account_id for request in requests if (r := request.recipient) and r.purpose is purpose}
        found |= read_live_links(session, purpose, accounts)
    return found


def _decide(
    requests: Sequence[ResendRequest],
    rule: ResendRule,
    allowances: Mapping[ThrottleSubject, Allowance],
    links: Mapping[UUID, LiveLink],
) -> tuple[list[ResendAnswer], Mapping[ThrottleSubject, Allowance]]:
    """Decides the requests one after the other: each finds the allowances and links that those before it left.

    A person who is there twice in one job is sent one mail and gets the same answer twice.
    """
    standing, left, answers = dict(links), dict(allowances), []
    answered: dict[tuple[UUID, UUID], ResendVerdict] = {}
    for request in requests:
        person = request.recipient
        if person is None:
            answers.append(ResendAnswer(request, rule(None, ()).verdict, mailed=False))
            continue
        link, key = standing.get(person.account_id), (request.job_id, person.account_id)
        known = None if person.has_left else answered.get(key)
        found = [left[subject] for subject in request.subjects]
        verdict, counted = ThrottledVerdict(known, found) if known else rule(_holder(person, link), found)
        left.update(zip(request.subjects, counted, strict=True))
        mailed = known is None and verdict.code in MAILED
        if not person.has_left:
            answered[key] = verdict
        if mailed:
            standing[person.account_id] = _sent_again(person, link, left[request.subjects[0]].now)
        answers.append(ResendAnswer(request, verdict, mailed))
    return answers, left


def _sent_again(person: LockedRecipient, link: LiveLink | None, now: datetime) -> LiveLink:
    return LiveLink(link.resent + 1 if link else 0, now + LINK_LIFETIME[person.purpose])


def _holder(person: LockedRecipient, link: LiveLink | None) -> LinkHolder:
    resent, ends_at = link or (0, None)
    return LinkHolder(person.withdrawn_at, person.activated, resent, ends_at, person.detached_at, person.suppressed)


def _mail(request: ResendRequest, person: LockedRecipient) -> OwedMail:
    """Returns one mail per job and account: a job that is done again owes no other."""
    kind = EmailKind.PASSWORD_RESET if person.activated else EmailKind.INVITATION
    return OwedMail(
        kind,
        f"{request.job_id}:{person.account_id}",
        request.lane,
        person.email,
        person.locale,
        request.queue,
        job_id=request.job_id,
        account_id=person.account_id,
        enrollment_id=person.enrollment_id,
        contract_id=person.contract_id,
        context={"again": True},  # of no use to a person who activated meanwhile
    )
