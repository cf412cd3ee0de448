"""Mails to a person who does not activate their account: reminders, the warning about their seat, its release."""

from typing import Any, Final

from models.release import expected_release
from models.reminder import is_last
from models.words import EmailKind, Progress
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.mail.letters.letter import (
    Letter,
    link_address,
    names,
    not_wanted,
    to_a_person,
)


def write_reminder(_: Session, row: ClaimedRow, fact: Any) -> Letter:
    """None to who activated or left since it was owed, nor when the contract wants no reminders any more."""
    if not _waiting(fact) or not fact.reminders:
        return not_wanted(row)
    released = None
    if fact.release_after_days is not None and fact.progress == Progress.NOT_STARTED:
        released = expected_release(fact.enrolled_at, fact.release_warned_at, fact.release_after_days, fact.now)
    more = {"last": is_last(row.columns["context"]["step"]), "released_from": released}
    return Letter(row, EmailKind.REMINDER, names(fact) | to_a_person(fact) | _link(fact) | more)


def write_release_warning(_: Session, row: ClaimedRow, fact: Any) -> Letter:
    """None to who activated, began or left since it was owed, nor under another option than it was owed under.

    The date counts from the day it leaves (``workers/enrollment/releases.py``).
    """
    unused = _waiting(fact) and fact.progress == Progress.NOT_STARTED
    if not unused or fact.release_after_days is None or fact.release_warned_at is None:
        return not_wanted(row)
    released = expected_release(fact.enrolled_at, fact.now, fact.release_after_days, fact.now)
    more = _link(fact) | {"released_from": released}
    return Letter(row, EmailKind.RELEASE_WARNING, names(fact) | to_a_person(fact) | more)


def write_release(_: Session, row: ClaimedRow, fact: Any) -> Letter:
    """Not sent to whoever is enrolled on the same contract again by now: it would arrive after the new invitation."""
    if not fact.withdrawn or fact.enrolled_again:
        return not_wanted(row)
    return Letter(row, EmailKind.RELEASE, names(fact) | to_a_person(fact))


def _waiting(fact: Any) -> bool:
    """Whether somebody is still expected to activate, and has a link for it (one voided on purpose is none)."""
    left = fact.withdrawn or fact.detached or fact.company_name is None
    return not left and not fact.activated and fact.link_id is not None


def _link(fact: Any) -> dict[str, Any]:
    return {"link": link_address(fact), "expires_at": fact.expires_at}


WRITERS: Final = {
    EmailKind.REMINDER: write_reminder,
    EmailKind.RELEASE_WARNING: write_release_warning,
    EmailKind.RELEASE: write_release,
}
