"""Writes mails to a person about one of their enrollments, and about the password of their account.

Each is written from the facts of this moment. A mail that makes no sense any more (the person activated, left, or was
enrolled again since it was owed) is not sent.
"""

from typing import Any, Final

from models.release import expected_release
from models.reminder import is_last
from models.words import EmailKind, Progress
from workers.database import Session
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailedLink, MailFacts
from workers.mail.letters.letter import Letter, access, names, not_wanted, to_a_person


def announcement(mail: ClaimedMail, facts: MailFacts) -> EmailKind | None:
    """Returns the kind of mail that an owed invitation or attachment has become, or None when it is not wanted.

    A person who has activated meanwhile needs no link and is told of the training only; an invitation sent again is of
    no use to them. A missing link was voided on purpose, by a change that owes another mail.
    """
    if facts.has_left or facts.company_name is None or (facts.activated and mail.context.get("again")):
        return None
    if facts.activated:
        return EmailKind.ATTACHMENT
    return None if facts.link is None else mail.kind


def write_announcement(_: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes an invitation, or an attachment mail with its link "this is not me"."""
    kind = announcement(mail, facts)
    if kind is None:
        return not_wanted(mail)
    says = names(facts) | to_a_person(facts) | access(facts) | _linked(None if facts.activated else facts.link)
    if kind is EmailKind.ATTACHMENT:
        says |= {"not_me_link": facts.not_me.address if facts.not_me else None}
    return Letter(mail, kind, says)


def write_reminder(_: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes a reminder, unless the contract wants none any more."""
    if not _may_activate(facts) or not facts.reminders:
        return not_wanted(mail)
    released = None
    if facts.release_after_days is not None and facts.progress == Progress.NOT_STARTED and facts.enrolled_at:
        released = expected_release(facts.enrolled_at, facts.release_warned_at, facts.release_after_days, facts.now)
    more = {"last": is_last(mail.context["step"]), "released_from": released}
    says = names(facts) | to_a_person(facts) | access(facts) | _linked(facts.link)
    return Letter(mail, EmailKind.REMINDER, says | more)


def write_release_warning(_: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes a warning, unless it was owed under an option the contract has changed since.

    The date counts from the day it leaves (``workers/enrollment/releases.py``).
    """
    unused = _may_activate(facts) and facts.progress == Progress.NOT_STARTED
    if not unused or facts.release_after_days is None or facts.release_warned_at is None or not facts.enrolled_at:
        return not_wanted(mail)
    released = expected_release(facts.enrolled_at, facts.now, facts.release_after_days, facts.now)
    more = _linked(facts.link) | {"released_from": released}
    return Letter(mail, EmailKind.RELEASE_WARNING, names(facts) | to_a_person(facts) | more)


def write_farewell(_: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes that a person was withdrawn or their seat released, unless they are enrolled on the contract again.

    Else the mail would arrive after the new invitation.
    """
    if not facts.has_left or facts.enrolled_again:
        return not_wanted(mail)
    return Letter(mail, mail.kind, names(facts) | to_a_person(facts))


def write_reset(_: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes a reset, unless a password was chosen since it was asked for: that used or voided the link."""
    if facts.has_left or facts.link is None:
        return not_wanted(mail)
    corrected = bool(mail.context.get("corrected"))  # their old password was forgotten with the correction
    asker = {"company_name": facts.company_name, "corrected": corrected}  # no company when the person asked
    return Letter(mail, EmailKind.PASSWORD_RESET, asker | to_a_person(facts) | _linked(facts.link))


def _may_activate(facts: MailFacts) -> bool:
    """Tells whether the person is still expected to activate their account, and has a link for it."""
    left = facts.has_left or facts.company_name is None
    return not left and not facts.activated and facts.link is not None


def _linked(link: MailedLink | None) -> dict[str, Any]:
    return {"link": link.address if link else None, "expires_at": link.expires_at if link else None}


WRITERS: Final = {
    EmailKind.INVITATION: write_announcement,
    EmailKind.ATTACHMENT: write_announcement,
    EmailKind.REMINDER: write_reminder,
    EmailKind.RELEASE_WARNING: write_release_warning,
    EmailKind.RELEASE: write_farewell,
    EmailKind.WITHDRAWAL: write_farewell,
    EmailKind.PASSWORD_RESET: write_reset,
}
