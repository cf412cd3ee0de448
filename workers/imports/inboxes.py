"""Inboxes: which files were seen, what became of them, and whose turn it is. What is done with folders is elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.label import make_label
from models.roster import is_settled, too_many_changes
from models.words import Code, JobState, Policy
from workers.audit import record
from workers.database import Session
from workers.engine.acceptance import find_portal
from workers.engine.ledger import wake_after_commit
from workers.imports.acceptance import accept_import
from workers.imports.files import store_file
from workers.requests.imports import ImportRoster
from workers.requests.internal import PutInbox
from workers.rosters.folder import DroppedFile, open_place

UPSERT_INBOX = text("""
    INSERT INTO inbox (id, portal_id, reference, contract, url, policy, notify, report_to, report_locale,
      most_changed_percent, full_sync, paused)
    VALUES (gen_random_uuid(), :portal, :reference, :contract, :url, :policy, :notify, :report_to, :report_locale,
      :most_changed_percent, :full_sync, :paused)
    ON CONFLICT (portal_id, reference) DO UPDATE SET contract = excluded.contract, url = excluded.url,
      policy = excluded.policy, notify = excluded.notify, report_to = excluded.report_to,
      report_locale = excluded.report_locale, most_changed_percent = excluded.most_changed_percent,
      full_sync = excluded.full_sync, paused = excluded.paused
    RETURNING id""")

READ_INBOXES = text("SELECT * FROM inbox WHERE NOT paused ORDER BY id")

MARK_SCANNED = text("UPDATE inbox SET scanned_at = now(), trouble = :trouble WHERE id = :id")

INSERT_FILES = text("""
    INSERT INTO inbox_file (inbox_id, name, version)
    SELECT :inbox, * FROM unnest(CAST(:names AS text[]), CAST(:versions AS text[])) ON CONFLICT DO NOTHING""")

READ_FILES = text("""
    SELECT f.name, f.version, f.seen_at, f.job_id, f.dry_run, f.refused, j.state, j.finished_at, j.result, now() AS now
    FROM inbox_file f LEFT JOIN job j ON j.id = f.job_id
    WHERE f.inbox_id = :inbox AND f.put_away_at IS NULL ORDER BY f.name, f.seen_at""")

MARK_IMPORTING = text("""
    UPDATE inbox_file SET job_id = :job, dry_run = :dry_run, refused = :refused
    WHERE inbox_id = :inbox AND name = :name AND version = :version""")

MARK_PUT_AWAY = text("""
    UPDATE inbox_file SET put_away_at = now() WHERE inbox_id = :inbox AND name = :name AND version = :version""")

COUNT_PARTICIPANTS = text("""
    SELECT count(*) FROM enrollment e JOIN contract c ON c.id = e.contract_id
    WHERE c.portal_id = :portal AND c.reference = :contract AND e.withdrawn_at IS NULL""")

# Participants no row of the file was about, whatever became of the row.
READ_MISSING = text("""
    SELECT a.email_norm, a.first_name, a.last_name FROM enrollment e
    JOIN contract c ON c.id = e.contract_id JOIN account a ON a.id = e.account_id
    WHERE c.portal_id = :portal AND c.reference = :contract AND e.withdrawn_at IS NULL AND NOT EXISTS (
      SELECT 1 FROM job_person p WHERE p.job_id = :job AND p.account_id = a.id)
    ORDER BY a.email_norm""")


class SeenFile(NamedTuple):
    """A file of an inbox and how far it has come."""

    name: str
    version: str
    seen_at: datetime
    job_id: UUID | None
    dry_run: bool
    refused: str | None
    state: str | None
    finished_at: datetime | None
    result: Any
    now: datetime

    @property
    def settled(self) -> bool:
        """Nobody is writing it any more."""
        return is_settled(self.seen_at, self.now)


def put_inbox(session: Session, _: UUID, job_id: UUID | None, request: PutInbox) -> tuple[JobState, dict[str, Any]]:
    """Sets an inbox up, or changes it.

    Raises:
      InvalidRequest: no such portal.
      NotConfigured: its address cannot be used.
    """
    open_place(request.url)
    portal_id = find_portal(session, request.portal)
    values = request.model_dump(exclude={"portal", "requested_by"}) | {"portal": portal_id}
    inbox_id: UUID = session.execute(UPSERT_INBOX, values).scalar_one()
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, requested_by=asker, subject_id=inbox_id, job_id=job_id)
    return JobState.SUCCEEDED, {"id": str(inbox_id)}


def read_inboxes(session: Session) -> Sequence[Any]:
    """The inboxes to look into."""
    return session.execute(READ_INBOXES).all()


def note_scan(session: Session, inbox: Any, trouble: str | None) -> None:
    """Remembers that an inbox was looked into, and what kept it from being read, if anything did."""
    session.execute(MARK_SCANNED, {"id": inbox.id, "trouble": trouble})


def see_files(session: Session, inbox: Any, dropped: Sequence[DroppedFile]) -> list[SeenFile]:
    """Remembers the files there are, and tells how far each has come; also those that are gone by now."""
    given = {"names": [one.name for one in dropped], "versions": [one.version for one in dropped]}
    session.execute(INSERT_FILES, {"inbox": inbox.id} | given)
    return [SeenFile(*row) for row in session.execute(READ_FILES, {"inbox": inbox.id})]


def begin_import(session: Session, inbox: Any, seen: SeenFile, file: BinaryIO, *, dry_run: bool) -> None:
    """Keeps a file and owes its import, once per version of it; also for whoever scans the same folder beside us."""
    request = ImportRoster(
        contract=inbox.contract,
        file=store_file(session, inbox.portal_id, file),
        file_name=make_label(seen.name, "file"),
        policy=Policy(inbox.policy),
        notify=inbox.notify,
        dry_run=dry_run,
        report_to=inbox.report_to,
        report_locale=inbox.report_locale,
        requested_by=f"inbox:{inbox.reference}",
    )
    key = f"inbox:{inbox.id}:{'dry' if dry_run else 'real'}:{request.file}:{seen.version}"[:200]
    accepted = accept_import(session, inbox.portal_id, request, key=key, internal=True)
    wake_after_commit(session, accepted.queue)
    session.execute(MARK_IMPORTING, _file(inbox, seen) | {"job": accepted.job_id, "dry_run": dry_run, "refused": None})


def refuse_file(session: Session, inbox: Any, seen: SeenFile, code: Code) -> None:
    """Notes that a file is not imported, and why."""
    session.execute(MARK_IMPORTING, _file(inbox, seen) | {"job": seen.job_id, "dry_run": seen.dry_run, "refused": code})


def weigh_dry_run(session: Session, inbox: Any, seen: SeenFile) -> Code | None:
    """Why a file whose dry run is finished is not imported, or None when it may be."""
    counts = (seen.result or {}).get("counts", {})
    joining = counts.get(Code.ENROLLED, 0) + counts.get(Code.ATTACHED, 0)
    whose = {"portal": inbox.portal_id, "contract": inbox.contract}
    participants: int = session.execute(COUNT_PARTICIPANTS, whose).scalar_one()
    return too_many_changes(joining, participants, inbox.most_changed_percent)


def put_away(session: Session, inbox: Any, seen: SeenFile) -> None:
    """Notes that a file is out of the folder."""
    session.execute(MARK_PUT_AWAY, _file(inbox, seen))


def missing_people(session: Session, inbox: Any, job_id: UUID) -> list[tuple[str, str, str]]:
    """Participants of the contract the file does not name: address, first and last name."""
    whose = {"portal": inbox.portal_id, "contract": inbox.contract, "job": job_id}
    return [tuple(row) for row in session.execute(READ_MISSING, whose)]


def _file(inbox: Any, seen: SeenFile) -> dict[str, Any]:
    return {"inbox": inbox.id, "name": seen.name, "version": seen.version}
