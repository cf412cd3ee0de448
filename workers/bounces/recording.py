"""Records what reports say about mails: each thing once, in one transaction, and only of mails that were sent.

Lock order: the mails, accounts by address, enrollments, the suppression list; then what is owed.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.bounce import BounceEffect, BounceReport, BounceVerdict, decide_effect, judge_report
from models.email import Email
from models.enrollment import PARTICIPATING
from models.words import EmailKind
from workers.database import Session, array, text_array
from workers.outbox.events import tell_undeliverable
from workers.outbox.mails import OwedMail, owe
from workers.outbox.suppression import suppress_bounced, suppress_complaining
from workers.requests.queues import Queue
from workers.sql import Unnest, fetch

SLOT_SECONDS: Final = 900
"""A manager gets one mail for all addresses of a contract that bounced within a quarter of an hour."""

GRACE_SECONDS: Final = 60
"""That mail is written so long after the quarter: a report of its last moment is committed by then."""

_NOTED: Final = "soft_bounce"


class _ReportedMail(NamedTuple):
    id: UUID
    state: str
    to_address: str
    account_id: UUID | None
    noted: bool
    contract_id: UUID | None
    company_id: UUID | None
    manager_email: str | None
    manager_locale: str | None
    now: datetime


class _ReturnedMail(NamedTuple):
    id: UUID
    state: str
    error: str


class _NotedMail(NamedTuple):
    id: UUID
    error: str


_RETURNED: Final = Unnest(_ReturnedMail, Email, alias="given", others={"error": "text"})
_NOTES: Final = Unnest(_NotedMail, Email, alias="given", others={"error": "text"})

# The mails that reports are about, with the manager of the contract for those about an enrollment.
LOCK_MAILS = text(f"""
    SELECT m.id, m.state, m.to_address, m.account_id,
      coalesce(CAST(m.error AS text) LIKE '%"{_NOTED}"%', false) AS noted, told.contract_id, told.company_id,
      told.manager_email, told.manager_locale, now() AS now
    FROM email m LEFT JOIN LATERAL (
      SELECT c.id AS contract_id, c.company_id, c.manager_email, c.manager_locale
      FROM enrollment e JOIN contract c ON c.id = e.contract_id
      WHERE e.id = m.enrollment_id AND {PARTICIPATING} LIMIT 1) told ON true
    WHERE m.id = ANY(CAST(:mails AS uuid[])) ORDER BY m.id FOR NO KEY UPDATE OF m""")

# A mail of which it was uncertain whether the relay took it is not tried again: it did.
UPDATE_RETURNED = text(f"""
    UPDATE email SET state = given.state, error = CAST(given.error AS json), returned_at = now(), due_at = NULL,
      finished_at = coalesce(finished_at, now())
    FROM {_RETURNED} WHERE email.id = given.id AND email.id = ANY(CAST(:id AS uuid[]))""")

# A failure that proves nothing about the address is kept beside the mail, which stays sent.
UPDATE_NOTED = text(f"""
    UPDATE email SET error = CAST(given.error AS json)
    FROM {_NOTES} WHERE email.id = given.id AND email.id = ANY(CAST(:id AS uuid[]))""")

# No reminder goes to an address that does not exist, or does not want it; another address or another invitation starts
# them again.
STOP_REMINDERS = text("""
    UPDATE enrollment SET next_reminder_at = NULL WHERE id = ANY(ARRAY(
      SELECT e.id FROM enrollment e WHERE e.id = ANY(ARRAY(
        SELECT reminded.id FROM unnest(CAST(:emails AS text[])) given CROSS JOIN LATERAL (
          SELECT e.id FROM enrollment e
          WHERE e.account_id = (SELECT a.id FROM account a WHERE a.email_norm = given)
            AND e.next_reminder_at IS NOT NULL) reminded))
      ORDER BY e.id FOR NO KEY UPDATE))""")


class RecordedReport(NamedTuple):
    """A report about a mail with its verdict and its consequence."""

    mail_id: UUID
    verdict: BounceVerdict
    effect: BounceEffect


def record_reports(session: Session, reports: Sequence[tuple[UUID, BounceReport]]) -> list[RecordedReport]:
    """Records reports about mails, and returns the consequence of each in their order.

    Parameters:
      reports: each with the mail that its return address proves it to be about.
    """
    if not reports:
        return []
    found = fetch(session, _ReportedMail, LOCK_MAILS, {"mails": array({mail_id for mail_id, _ in reports})})
    mails = {mail.id: mail for mail in found}
    recorded, decided = [], dict[UUID, RecordedReport]()
    for mail_id, report in reports:
        one = _decide(mails.get(mail_id), mail_id, report, decided.get(mail_id))
        recorded.append(one)
        if one.effect not in (BounceEffect.NOTHING, BounceEffect.TOO_EARLY):
            decided[mail_id] = one
    _carry_out(session, mails, list(decided.values()))
    return recorded


def _decide(
    mail: _ReportedMail | None, mail_id: UUID, report: BounceReport, before: RecordedReport | None
) -> RecordedReport:
    """Decides about one report, after those of the same bundle that came before it."""
    if mail is None:
        return RecordedReport(mail_id, judge_report(report), BounceEffect.NOTHING)
    verdict = judge_report(report, mail.to_address)
    noted = mail.noted or (before is not None and before.effect is BounceEffect.NOTED)
    state = before.effect.value if before and before.effect is not BounceEffect.NOTED else mail.state
    return RecordedReport(mail_id, verdict, decide_effect(verdict.kind, state, noted=noted))


def _carry_out(session: Session, mails: Mapping[UUID, _ReportedMail], decided: Sequence[RecordedReport]) -> None:
    returned = [one for one in decided if one.effect in (BounceEffect.BOUNCED, BounceEffect.COMPLAINED)]
    noted = [_NotedMail(one.mail_id, _error(one)) for one in decided if one.effect is BounceEffect.NOTED]
    if noted:
        session.execute(UPDATE_NOTED, _NOTES.parameters(noted))
    if not returned:
        return
    rows = [_ReturnedMail(one.mail_id, one.effect.value, _error(one)) for one in returned]
    session.execute(UPDATE_RETURNED, _RETURNED.parameters(rows))
    emails = {mails[one.mail_id].to_address for one in returned} - {""}
    session.execute(STOP_REMINDERS, {"emails": text_array(sorted(emails))})
    bounced = [mails[one.mail_id] for one in returned if one.effect is BounceEffect.BOUNCED]
    suppress_bounced(session, _addresses(bounced))
    complained = [mails[one.mail_id] for one in returned if one.effect is BounceEffect.COMPLAINED]
    suppress_complaining(session, _addresses(complained))
    tell_undeliverable(session, [one.mail_id for one in returned])
    owe(session, _mails_to_managers(bounced))


def _addresses(mails: Collection[_ReportedMail]) -> set[str]:
    """Returns the addresses of mails; those of people who were erased since are no longer known."""
    return {mail.to_address for mail in mails} - {""}


def _error(one: RecordedReport) -> str:
    """Returns what is kept of a report; of the original, and of the link in it, nothing."""
    says: dict[str, Any] = {
        "class": "Bounce",
        "outcome": _NOTED if one.effect is BounceEffect.NOTED else one.effect.value,
        "reason": one.verdict.reason or one.effect.value,
        "status": one.verdict.status,
        "message": one.verdict.words,
    }
    return json.dumps(says)


def _mails_to_managers(bounced: Sequence[_ReportedMail]) -> list[OwedMail]:
    """Returns one mail to the manager of each contract, for the quarter of an hour in which this happens."""
    told = {mail.contract_id: mail for mail in bounced if mail.account_id}
    mails = (_mail_to_manager(mail) for mail in told.values())
    return sorted((mail for mail in mails if mail is not None), key=lambda mail: mail.key)


def _mail_to_manager(mail: _ReportedMail) -> OwedMail | None:
    """Returns the mail that a manager is owed; None where the contract has none, or the mail was about no contract."""
    if mail.contract_id is None or mail.company_id is None or not mail.manager_email:
        return None
    seconds = int(mail.now.timestamp())
    slot = seconds // SLOT_SECONDS
    return OwedMail(
        EmailKind.UNDELIVERABLE,
        key=f"{mail.contract_id}:{slot}",
        lane=mail.company_id,
        to_address=mail.manager_email,
        locale=mail.manager_locale or "fr",
        queue=Queue.EMAILS,
        contract_id=mail.contract_id,
        context={"since": slot * SLOT_SECONDS, "until": (slot + 1) * SLOT_SECONDS},
        wait_seconds=(slot + 1) * SLOT_SECONDS - seconds + GRACE_SECONDS,
    )
