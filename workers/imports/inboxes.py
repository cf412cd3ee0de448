"""Records inboxes, the files that were seen in each, and how far each file has come."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, BinaryIO, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, text, update
from sqlmodel import col, select

from models.base import new_id
from models.expected_file import clean_cron
from models.job import Job
from models.label import make_label
from models.roster import Inbox, InboxFile, is_settled, too_many_changes
from models.words import Code, JobState, Policy
from workers.audit import record
from workers.database import Session
from workers.engine.acceptance import find_portal
from workers.engine.ledger import wake_after_commit
from workers.errors import InvalidRequest, Problem
from workers.imports.acceptance import accept_import
from workers.imports.files import store_file
from workers.requests.imports import ImportRoster
from workers.requests.internal import PutInbox
from workers.rosters.folder import DroppedFile, open_place
from workers.sql import Unnest, change, fetch, fetch_value, select_record, upsert


class _FileVersion(NamedTuple):
    name: str
    version: str


_VERSIONS: Final = Unnest(_FileVersion, InboxFile, alias="given")

# Records the files in the folder of an inbox; a version that was seen before is left as it is. One that was put away
# and is there again was dropped again: it begins anew.
INSERT_FILES = text(f"""
    INSERT INTO inbox_file AS f (inbox_id, {_VERSIONS.columns})
    SELECT :inbox, {_VERSIONS.columns} FROM {_VERSIONS} ON CONFLICT (inbox_id, name, version) DO UPDATE
    SET seen_at = now(), job_id = NULL, dry_run = false, refused = NULL, trouble = NULL, put_away_at = NULL
    WHERE f.put_away_at IS NOT NULL""")

# Reads what was expected of an inbox so far; it may be new.
READ_EXPECTATION = text("""
    SELECT now() AS now, i.expected, i.expected_since, coalesce(i.paused, false) AS paused
    FROM (SELECT 1) one LEFT JOIN inbox i ON i.portal_id = :portal AND i.reference = :reference""")

# Counts the participants of a contract.
COUNT_PARTICIPANTS = text("""
    SELECT count(*) FROM enrollment e JOIN contract c ON c.id = e.contract_id
    WHERE c.portal_id = :portal AND c.reference = :contract AND e.withdrawn_at IS NULL""")

# Reads the participants of a contract without a row in the file, whatever the result of the rows.
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
    trouble: str | None
    now: datetime

    @property
    def settled(self) -> bool:
        """Tells whether the file has stayed the same for so long that its writing has ended."""
        return is_settled(self.seen_at, self.now)


class _Expectation(NamedTuple):
    now: datetime
    expected: str | None
    expected_since: datetime | None
    paused: bool


class MissingParticipant(NamedTuple):
    """A participant whom a file does not name."""

    email_norm: str
    first_name: str
    last_name: str


def put_inbox(session: Session, _: UUID, job_id: UUID | None, request: PutInbox) -> tuple[JobState, dict[str, Any]]:
    """Sets an inbox up, or changes it.

    Raises:
      InvalidRequest: no such portal, or times of expected files that cannot be read.
      NotConfigured: its address cannot be used.
    """
    open_place(request.url)
    portal_id = find_portal(session, request.portal)
    said = request.model_dump(exclude={"portal", "requested_by"}) | _expectation(session, portal_id, request)
    inbox = Inbox.model_validate({"id": new_id(), "portal_id": portal_id, **said})
    inbox_id = upsert(session, inbox, key=("portal_id", "reference"), changing=said.keys() - {"reference"})
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, requested_by=asker, subject_id=inbox_id, job_id=job_id)
    return JobState.SUCCEEDED, {"id": str(inbox_id)}


def _expectation(session: Session, portal_id: UUID, request: PutInbox) -> dict[str, Any]:
    """Returns when files are expected, and since when: what was missed while something else was said is not told."""
    if request.expected is None:
        return {"expected": None, "expected_since": None}
    cron = clean_cron(request.expected)
    if isinstance(cron, Code):
        told = "five fields of a cron expression, such as 0 6 * * 1-5, with a time to come"
        raise InvalidRequest(Problem(cron, "expected", told))
    named = {"portal": portal_id, "reference": request.reference}
    [known] = fetch(session, _Expectation, READ_EXPECTATION, named)
    same = known.expected == cron and not known.paused
    return {"expected": cron, "expected_since": known.expected_since if same else known.now}


def read_inboxes(session: Session) -> Sequence[Inbox]:
    """Reads the inboxes that are not paused."""
    return session.exec(select(Inbox).where(col(Inbox.paused).is_(False)).order_by(col(Inbox.id))).all()


def note_scan(session: Session, inbox: Inbox, trouble: str | None) -> None:
    """Records the scan of an inbox, with the class of the error that kept it from being read, if any."""
    scanned = {"scanned_at": func.now(), "trouble": trouble}
    session.execute(update(Inbox).where(col(Inbox.id) == inbox.id).values(scanned))


def see_files(session: Session, inbox: Inbox, dropped: Sequence[DroppedFile]) -> list[SeenFile]:
    """Records the files in the folder; returns how far each file has come, also files that are gone by now.

    A file that was not there before has come, whatever becomes of it: none is missing from then on.
    Files that failed in the last scan come last, so that they keep no other waiting.
    """
    versions = _VERSIONS.parameters([_FileVersion(one.name, one.version) for one in dropped])
    if change(session, INSERT_FILES, versions | {"inbox": inbox.id}):
        session.execute(update(Inbox).where(col(Inbox.id) == inbox.id).values({"arrived_at": func.now()}))
    seen = select_record(SeenFile, InboxFile, Job, now=func.now()).select_from(InboxFile)
    seen = seen.outerjoin(Job, col(Job.id) == col(InboxFile.job_id))
    seen = seen.where(col(InboxFile.inbox_id) == inbox.id, col(InboxFile.put_away_at).is_(None))
    order = (col(InboxFile.trouble).is_not(None), col(InboxFile.name), col(InboxFile.seen_at))
    return fetch(session, SeenFile, seen.order_by(*order))


def begin_import(session: Session, inbox: Inbox, seen: SeenFile, file: BinaryIO, *, dry_run: bool) -> None:
    """Keeps a file and owes its import, once per version of the file, also when two scanners do so at once."""
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
    drop = hashlib.sha256(f"{seen.version}\n{seen.seen_at.isoformat()}".encode()).hexdigest()[:32]
    key = f"inbox:{inbox.id}:{'dry' if dry_run else 'real'}:{request.file}:{drop}"
    accepted = accept_import(session, inbox.portal_id, request, key=key, internal=True)
    wake_after_commit(session, accepted.queue)
    _update(session, inbox, seen, {"job_id": accepted.job_id, "dry_run": dry_run, "refused": None})


def note_trouble(session: Session, inbox: Inbox, seen: SeenFile, trouble: str | None) -> None:
    """Records the class of the error that the last step of a file met, or that it met none."""
    if trouble != seen.trouble:
        _update(session, inbox, seen, {"trouble": trouble})


def refuse_file(session: Session, inbox: Inbox, seen: SeenFile, code: Code) -> None:
    """Records that a file is not imported, and why."""
    _update(session, inbox, seen, {"refused": code})


def weigh_dry_run(session: Session, inbox: Inbox, seen: SeenFile) -> Code | None:
    """Returns why a file is not imported after its dry run, or None when it may be."""
    counts = (seen.result or {}).get("counts", {})
    joining = counts.get(Code.ENROLLED, 0) + counts.get(Code.ATTACHED, 0)
    contract = {"portal": inbox.portal_id, "contract": inbox.contract}
    participants = fetch_value(session, int, COUNT_PARTICIPANTS, contract) or 0
    return too_many_changes(joining, participants, inbox.most_changed_percent)


def put_away(session: Session, inbox: Inbox, seen: SeenFile) -> None:
    """Records that a file has left the folder."""
    _update(session, inbox, seen, {"put_away_at": func.now()})


def missing_people(session: Session, inbox: Inbox, job_id: UUID) -> list[MissingParticipant]:
    """Reads the participants of the contract whom the file of this import does not name."""
    asked = {"portal": inbox.portal_id, "contract": inbox.contract, "job": job_id}
    return fetch(session, MissingParticipant, READ_MISSING, asked)


def _update(session: Session, inbox: Inbox, seen: SeenFile, values: dict[str, Any]) -> None:
    file = (col(InboxFile.inbox_id) == inbox.id, col(InboxFile.name) == seen.name)
    session.execute(update(InboxFile).where(*file, col(InboxFile.version) == seen.version).values(values))
