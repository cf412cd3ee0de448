"""The rows of a correction of a name: the correction, its link, its mails. The caller holds the account."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.mails import ASKING_ABOUT_CORRECTION
from models.name_correction import NAME_LASTS, NameGround, name_ending
from models.names import FullName
from models.words import CorrectionState, EmailKind, Purpose
from workers.audit import record
from workers.database import Session
from workers.engine.acceptance import owe_successor
from workers.enrollment.searching import renew_words
from workers.outbox.mails import OwedMail, cancel_mails_of_correction, owe
from workers.requests.certificates import CatchUpCertificates
from workers.requests.queues import Queue
from workers.security.links import LIVE, offer_subject_links, void_links
from workers.sql import change, fetch, fetch_one

# A correction that is applied at once is recorded as ended. The time of its end is the clock's, not the transaction's:
# a certificate that was issued while this transaction waited for the account counts as the earlier one.
INSERT_CORRECTION = text("""
    INSERT INTO name_correction (id, account_id, enrollment_id, company_id, portal_id, job_id, requested_by,
      old_first_name, old_last_name, new_first_name, new_last_name, state, ground, asked_at, ended_at)
    VALUES (:id, :account_id, :enrollment_id, :company_id, :portal_id, :job_id, :requested_by,
      :old_first_name, :old_last_name, :new_first_name, :new_last_name,
      CAST(:state AS text), :ground, now(), CASE WHEN CAST(:state AS text) <> 'pending' THEN clock_timestamp() END)
    RETURNING id, now() + CAST(:lasts AS interval) AS waits_until""")

# Only a pending correction ends: a second end changes nothing.
END_CORRECTION = text("""
    UPDATE name_correction SET state = :state, ground = :ground, ended_at = clock_timestamp()
    WHERE id = :id AND state = 'pending'""")

# Gives an account its corrected name.
RENAME_ACCOUNT = text("UPDATE account SET first_name = :first_name, last_name = :last_name WHERE id = :account")

# A portal that was shown the names it typed is shown the corrected one when its correction is made.
RETYPE = text("""
    UPDATE enrollment SET first_name = :first_name, last_name = :last_name FROM (
      SELECT e.id FROM enrollment e JOIN contract c ON c.id = e.contract_id
      WHERE e.account_id = :account AND c.portal_id = :portal AND e.last_name IS NOT NULL
      ORDER BY e.id FOR NO KEY UPDATE OF e) typed
    WHERE enrollment.id = typed.id""")

# In the order of the id, as every transaction locks enrollments.
LET_CERTIFICATES_GO = text("""
    UPDATE enrollment SET certificate_held = NULL FROM (
      SELECT e.id FROM enrollment e WHERE e.account_id = :account AND e.certificate_held IS NOT NULL
      ORDER BY e.id FOR NO KEY UPDATE) held
    WHERE enrollment.id = held.id""")

_PENDING: Final = f"""
    SELECT nc.id, nc.account_id, nc.enrollment_id, nc.company_id, nc.portal_id, nc.job_id, nc.requested_by,
      nc.old_first_name, nc.old_last_name, nc.new_first_name, nc.new_last_name,
      nc.asked_at + CAST(:lasts AS interval) AS waits_until, nc.asked_at + CAST(:lasts AS interval) <= now() AS expired,
      EXISTS (SELECT 1 FROM link l WHERE l.account_id = nc.account_id AND l.subject_id = nc.id
        AND l.purpose = '{Purpose.NAME_CONFIRMATION}' AND {LIVE}) AS linked
    FROM name_correction nc WHERE nc.state = '{CorrectionState.PENDING}'"""

# An account has one pending correction of its name at most.
READ_PENDING_OF_ACCOUNT = text(f"{_PENDING} AND nc.account_id = :account")
# All pending corrections, for the sweep that ends those that can no longer be confirmed.
READ_ALL_PENDING = text(f"{_PENDING} ORDER BY nc.asked_at")

# The manager of the contract, if the portal named an address to write to.
READ_MANAGER = text("""
    SELECT c.id AS contract_id, c.manager_email AS email, c.manager_locale AS locale
    FROM enrollment e JOIN contract c ON c.id = e.contract_id
    WHERE e.id = :enrollment AND c.manager_email IS NOT NULL""")


class RenamedAccount(NamedTuple):
    """An account to rename, its row locked by this transaction, with the name it has now."""

    account_id: UUID
    email: str
    locale: str
    activated: bool
    first_name: str
    last_name: str


class NewNameCorrection(NamedTuple):
    """A correction that was asked for; a company's manager names the row they ticked, operators do not."""

    account_id: UUID
    portal_id: UUID
    job_id: UUID
    requested_by: str
    old_first_name: str
    old_last_name: str
    new_first_name: str
    new_last_name: str
    enrollment_id: UUID | None = None
    company_id: UUID | None = None


class InsertedNameCorrection(NamedTuple):
    """A correction that was recorded, and the moment until which it may wait."""

    id: UUID
    waits_until: datetime


class PendingNameCorrection(NamedTuple):
    """A pending correction.

    Parameters:
      waits_until: the moment at which it expires; `expired` once that moment has passed.
      linked: the person can still confirm by the link they were sent.
    """

    id: UUID
    account_id: UUID
    enrollment_id: UUID | None
    company_id: UUID | None
    portal_id: UUID
    job_id: UUID
    requested_by: str
    old_first_name: str
    old_last_name: str
    new_first_name: str
    new_last_name: str
    waits_until: datetime
    expired: bool
    linked: bool

    @property
    def open(self) -> bool:
        """Whether the person can still confirm it."""
        return self.linked and not self.expired


class _NotifiedManager(NamedTuple):
    contract_id: UUID
    email: str
    locale: str


def read_pending(session: Session, account_id: UUID) -> PendingNameCorrection | None:
    """Returns the pending correction of an account's name, if it has one."""
    asked = {"account": account_id, "lasts": NAME_LASTS}
    return fetch_one(session, PendingNameCorrection, READ_PENDING_OF_ACCOUNT, asked)


def read_all_pending(session: Session) -> list[PendingNameCorrection]:
    """Returns every pending correction of a name, as it stands; no row is held."""
    return fetch(session, PendingNameCorrection, READ_ALL_PENDING, {"lasts": NAME_LASTS})


def insert_name_correction(
    session: Session, new: NewNameCorrection, state: CorrectionState, ground: NameGround | None = None
) -> InsertedNameCorrection:
    """Records a correction."""
    columns = new._asdict() | {"id": new_id(), "state": state, "ground": ground, "lasts": NAME_LASTS}
    [inserted] = fetch(session, InsertedNameCorrection, INSERT_CORRECTION, columns)
    return inserted


def rename(session: Session, account_id: UUID, name: FullName, *, portal_id: UUID, job_id: UUID) -> None:
    """Gives the account its new name. Mails that are still owed greet by it, because names are read when they leave.

    Parameters:
      portal_id: the portal that asked for it.

    Certificates that could not be printed under the earlier name are issued: the job owes that.
    """
    named = {"account": account_id, "first_name": name.first_name, "last_name": name.last_name}
    session.execute(RENAME_ACCOUNT, named)
    session.execute(RETYPE, named | {"portal": portal_id})
    renew_words(session, {account_id})
    if change(session, LET_CERTIFICATES_GO, {"account": account_id}):
        owe_successor(session, job_id, CatchUpCertificates())


def ask_person(session: Session, account: RenamedAccount, new: NewNameCorrection, correction_id: UUID) -> None:
    """Makes the link by which the person confirms, and owes the mail that carries it: once for each job that asks."""
    offer_subject_links(session, Purpose.NAME_CONFIRMATION, {correction_id: account.account_id})
    owe(session, [_mail(account, new, EmailKind.NAME_CONFIRMATION, correction_id, key=f"{correction_id}:{new.job_id}")])


def tell_person(session: Session, account: RenamedAccount, new: NewNameCorrection, correction_id: UUID) -> None:
    """Owes the mail that says that the account has its new name."""
    owe(session, [_mail(account, new, EmailKind.NAME_CORRECTED, correction_id, key=str(correction_id))])


def end_pending_name(
    session: Session,
    waiting: PendingNameCorrection,
    state: CorrectionState,
    ground: NameGround | None,
    *,
    requested_by: str = "",
) -> None:
    """Ends a pending correction: its link works no more, its mail is not sent any more, and the manager is told how it
    ended, unless a request of their own ended it.
    """
    session.execute(END_CORRECTION, {"id": waiting.id, "state": state, "ground": ground})
    void_links(session, waiting.account_id, subject_id=waiting.id)
    cancel_mails_of_correction(session, waiting.account_id, waiting.id, ASKING_ABOUT_CORRECTION)
    record(
        session,
        "apply_name_correction" if state is CorrectionState.APPLIED else "end_name_correction",
        portal_id=waiting.portal_id,
        requested_by=requested_by,
        result=state,
        company_id=waiting.company_id,
        account_id=waiting.account_id,
        subject_id=waiting.id,
        job_id=waiting.job_id,
        detail={"ground": ground},
    )
    if name_ending(state, ground) is not None:
        _tell_manager(session, waiting)


def _tell_manager(session: Session, waiting: PendingNameCorrection) -> None:
    manager = fetch_one(session, _NotifiedManager, READ_MANAGER, {"enrollment": waiting.enrollment_id})
    if manager is None:
        return
    mail = OwedMail(
        EmailKind.NAME_ANSWER,
        str(waiting.id),
        waiting.company_id or waiting.portal_id,
        manager.email,
        manager.locale,
        Queue.EMAILS,
        job_id=waiting.job_id,
        contract_id=manager.contract_id,
        context={"correction": str(waiting.id)},
    )
    owe(session, [mail])


def _mail(
    account: RenamedAccount, new: NewNameCorrection, kind: EmailKind, correction_id: UUID, *, key: str
) -> OwedMail:
    return OwedMail(
        kind,
        key,
        new.company_id or new.portal_id,
        account.email,
        account.locale,
        Queue.EMAILS,
        job_id=new.job_id,
        account_id=account.account_id,
        context={"correction": str(correction_id)},
    )
