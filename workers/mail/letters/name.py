"""Writes mails about the correction of a name: to confirm it, to say that it was made, and to tell the manager."""

from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.name_correction import name_ending
from models.words import CorrectionState, EmailKind, Purpose
from workers.database import Session
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.correction import SIGN_LINK_ANEW
from workers.mail.letters.facts import MailedLink, MailFacts
from workers.mail.letters.letter import Letter, not_wanted, signature
from workers.security.keys import signing_keys
from workers.security.links import LIVE
from workers.sql import fetch_one, joined

# Reads a correction with its link, if the link still lives; it locks nothing.
READ_CORRECTION = text(f"""
    SELECT nc.state, nc.ground, nc.old_first_name, nc.old_last_name, nc.new_first_name, nc.new_last_name,
      co.name AS company_name, c.reference AS contract_reference, tr.title AS training_title,
      l.id AS link_id, l.account_id, l.purpose, l.key_id, l.version, l.expires_at
    FROM name_correction nc
    LEFT JOIN company co ON co.id = nc.company_id
    LEFT JOIN enrollment e ON e.id = nc.enrollment_id
    LEFT JOIN contract c ON c.id = e.contract_id
    LEFT JOIN training tr ON tr.id = c.training_id
    LEFT JOIN link l ON l.account_id = nc.account_id AND l.subject_id = nc.id
      AND l.purpose = '{Purpose.NAME_CONFIRMATION}' AND {LIVE} AND l.expires_at > now()
    WHERE nc.id = :id""")


class MailedNameCorrection(NamedTuple):
    """The facts of a correction of a name that its mails state."""

    state: str
    ground: str | None
    old_first_name: str
    old_last_name: str
    new_first_name: str
    new_last_name: str
    company_name: str | None
    contract_reference: str | None
    training_title: str | None
    link_id: UUID | None
    account_id: UUID | None
    purpose: str | None
    key_id: str | None
    version: int | None
    expires_at: Any

    @property
    def link(self) -> MailedLink | None:
        """The link by which the person answers."""
        link = (self.link_id, self.account_id, self.purpose, self.key_id, self.version, self.expires_at)
        return joined(MailedLink, *link, False)

    @property
    def shown(self) -> dict[str, Any]:
        """The new name and the company; the parts of a name are apart, because each is shortened for itself."""
        names = {"new_first_name": self.new_first_name, "new_last_name": self.new_last_name}
        return names | {"company_name": self.company_name}

    @property
    def emptied(self) -> bool:
        """Whether its names are kept no longer: the person was erased."""
        return not (self.new_first_name or self.new_last_name)


def write_name_correction(session: Session, mail: ClaimedMail, _: MailFacts) -> Letter:
    """Writes a mail about a correction of a name, unless it asks for an answer that is not awaited any more."""
    correction = _read(session, mail)
    if correction is None or correction.emptied:
        return not_wanted(mail)
    says = correction.shown | signature()
    if mail.kind is EmailKind.NAME_CORRECTED:
        return Letter(mail, mail.kind, says)
    if mail.kind is EmailKind.NAME_ANSWER:
        return _answer(mail, correction, says)
    link = correction.link
    if correction.state != CorrectionState.PENDING or link is None:
        return not_wanted(mail)
    old = {"old_first_name": correction.old_first_name, "old_last_name": correction.old_last_name}
    return Letter(mail, mail.kind, says | old | {"link": link.address, "expires_at": link.expires_at})


def _answer(mail: ClaimedMail, correction: MailedNameCorrection, says: dict[str, Any]) -> Letter:
    """Writes to the manager, without the earlier name: another company may have typed it."""
    ending = name_ending(correction.state, correction.ground)
    if ending is None:
        return not_wanted(mail)
    of_contract = {
        "contract_reference": correction.contract_reference,
        "training_title": correction.training_title,
        "ending": ending,
    }
    return Letter(mail, EmailKind.NAME_ANSWER, says | of_contract)


def _read(session: Session, mail: ClaimedMail) -> MailedNameCorrection | None:
    """Reads the correction with its link, which is then signed with a key that is still valid."""
    keys, asked = signing_keys(), {"id": UUID(mail.context["correction"])}
    correction = fetch_one(session, MailedNameCorrection, READ_CORRECTION, asked)
    link = correction.link if correction else None
    if link is None or keys.secret(link.key_id) is not None:
        return correction
    session.execute(SIGN_LINK_ANEW, {"id": link.id, "newest": keys.newest})
    return fetch_one(session, MailedNameCorrection, READ_CORRECTION, asked)


WRITERS: Final = {
    EmailKind.NAME_CONFIRMATION: write_name_correction,
    EmailKind.NAME_CORRECTED: write_name_correction,
    EmailKind.NAME_ANSWER: write_name_correction,
}
