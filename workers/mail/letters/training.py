"""Mails to a person about their access to a training: invitation, attachment, reset, withdrawal."""

from typing import Any, Final

from models.words import EmailKind
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.mail.letters.letter import (
    Letter,
    link_address,
    names,
    not_me_address,
    not_wanted,
    to_a_person,
)


def announcement(row: ClaimedRow, fact: Any) -> EmailKind | None:
    """Which mail an owed invitation or attachment has become, or None when it is not wanted any more.

    Whoever has activated meanwhile needs no link, and is told of the training only; an invitation sent again is of no
    use to them. A link that is missing was voided on purpose: whoever did that owes another mail.
    """
    again = bool(row.columns["context"] and row.columns["context"].get("again"))
    if fact.withdrawn or fact.company_name is None or (fact.activated and again):
        return None
    if fact.activated:
        return EmailKind.ATTACHMENT
    return None if fact.link_id is None else EmailKind(row.columns["kind"])


def write_announcement(_: Session, row: ClaimedRow, fact: Any) -> Letter:
    """An invitation, or an attachment mail with its way to say "this is not me"."""
    kind = announcement(row, fact)
    if kind is None:
        return not_wanted(row)
    says = names(fact) | _person(fact, None if fact.activated else link_address(fact))
    return Letter(row, kind, says | {"not_me_link": not_me_address(fact)} if kind is EmailKind.ATTACHMENT else says)


def write_withdrawal(_: Session, row: ClaimedRow, fact: Any) -> Letter:
    """Not sent to whoever is enrolled on the same contract again by now: it would arrive after the new invitation."""
    if not fact.withdrawn or fact.enrolled_again:
        return not_wanted(row)
    return Letter(row, EmailKind.WITHDRAWAL, names(fact) | to_a_person(fact))


def write_reset(_: Session, row: ClaimedRow, fact: Any) -> Letter:
    """A reset; none to who has chosen a password since it was asked for, which used or voided the link."""
    if fact.withdrawn or fact.link_id is None:
        return not_wanted(row)
    corrected = bool((row.columns["context"] or {}).get("corrected"))  # their password opens the account no more
    asker = {"company_name": fact.company_name, "corrected": corrected}  # None when the person asked, not their company
    return Letter(row, EmailKind.PASSWORD_RESET, asker | _person(fact, link_address(fact)))


def _person(fact: Any, link: str | None) -> dict[str, Any]:
    return to_a_person(fact) | {"link": link, "expires_at": fact.expires_at if link else None}


WRITERS: Final = {
    EmailKind.INVITATION: write_announcement,
    EmailKind.ATTACHMENT: write_announcement,
    EmailKind.WITHDRAWAL: write_withdrawal,
    EmailKind.PASSWORD_RESET: write_reset,
}
