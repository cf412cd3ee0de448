"""Lists inboxes with the files that wait in them, and the imports of files with their progress."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.roster import ImportProgress, measure_import
from workers.database import Session
from workers.ops.capped import read_by_index
from workers.sql import fetch, fetch_one

PAGE: Final = 25
"""Imports of one page."""

WAITING_FILES: Final = 20
"""The most files of an inbox that are listed."""

# Lists the inboxes, with their next look and the number of their files.
LIST_INBOXES: Final = text("""
    SELECT i.id, p.name AS portal, i.reference, i.contract, i.url, i.policy, i.paused, i.scanned_at, i.trouble,
      (SELECT s.next_run_at FROM schedule s WHERE s.kind = 'scan_inboxes' AND NOT s.paused
        ORDER BY s.next_run_at LIMIT 1) AS next_at,
      (SELECT count(*) FROM inbox_file f WHERE f.inbox_id = i.id AND f.put_away_at IS NULL) AS waiting,
      (SELECT count(*) FROM inbox_file f WHERE f.inbox_id = i.id AND f.refused IS NOT NULL) AS refused
    FROM inbox i JOIN portal p ON p.id = i.portal_id ORDER BY p.name, i.reference LIMIT 200""")

# Lists the files of the inboxes that wait, have trouble or were refused, the latest first.
LIST_FILES: Final = text("""
    SELECT f.inbox_id, f.name, f.seen_at, f.job_id, f.refused, f.trouble, f.put_away_at
    FROM inbox i CROSS JOIN LATERAL (
      SELECT * FROM inbox_file w WHERE w.inbox_id = i.id AND (w.put_away_at IS NULL OR w.refused IS NOT NULL)
      ORDER BY w.seen_at DESC LIMIT :limit) f
    ORDER BY f.inbox_id, f.seen_at DESC, f.name""")

_IMPORT: Final = """
    SELECT r.job_id AS id, r.file_name, r.rows, r.reading, r.cancelled_at, r.created_at, p.name AS portal,
      j.state, j.position, j.requested_by, j.finished_at, j.result,
      coalesce(substring(CAST(j.request AS text), '"contract" ?: ?"([^"]*)"'), '') AS contract,
      coalesce(CAST(j.request AS text) ~ '"dry_run" ?: ?true', false) AS dry_run,
      CAST(extract(epoch FROM coalesce(j.finished_at, now()) - j.started_at) AS float8) AS seconds,
      EXISTS (SELECT FROM roster_file k WHERE k.portal_id = r.portal_id AND k.sha256 = r.sha256) AS kept"""

# Lists the imports of files from one on, the latest first.
LIST_IMPORTS: Final = text(f"""
    {_IMPORT}
    FROM (SELECT * FROM roster o WHERE o.job_id < :before ORDER BY o.job_id DESC LIMIT :limit) r
    JOIN job j ON j.id = r.job_id JOIN portal p ON p.id = r.portal_id ORDER BY r.job_id DESC""")

# Reads the import that a job does.
READ_IMPORT: Final = text(f"""
    {_IMPORT}
    FROM roster r JOIN job j ON j.id = r.job_id JOIN portal p ON p.id = r.portal_id WHERE r.job_id = :id""")


class InboxFacts(NamedTuple):
    """A folder that is watched.

    Parameters:
      trouble: why it could not be read at the last look: the class of an error.
      next_at: when it is looked into next; None when nothing is scheduled.
      waiting, refused: its files that were not put away yet, and those that were not imported.
    """

    id: UUID
    portal: str
    reference: str
    contract: str
    url: str
    policy: str
    paused: bool
    scanned_at: datetime | None
    trouble: str | None
    next_at: datetime | None
    waiting: int
    refused: int


class InboxFileFacts(NamedTuple):
    """A file of an inbox that waits or was refused."""

    inbox_id: UUID
    name: str
    seen_at: datetime
    job_id: UUID | None
    refused: str | None
    trouble: str | None
    put_away_at: datetime | None


class ImportFacts(NamedTuple):
    """The import of a file.

    Parameters:
      reading: how the file was understood; None before it was read.
      kept: the file is still kept, so its rows can be read.
    """

    id: UUID
    file_name: str
    rows: int | None
    reading: dict[str, Any] | None
    cancelled_at: datetime | None
    created_at: datetime
    portal: str
    state: str
    position: int
    requested_by: str
    finished_at: datetime | None
    result: dict[str, Any] | None
    contract: str
    dry_run: bool
    seconds: float | None
    kept: bool

    @property
    def progress(self) -> ImportProgress:
        """Returns how far it is."""
        return measure_import(self.rows, self.position, self.seconds, finished=self.finished_at is not None)

    @property
    def counts(self) -> dict[str, int]:
        """Returns the number of rows by the code of their result, as far as they are known."""
        counts = (self.result or {}).get("counts")
        return counts if isinstance(counts, dict) else {}


class ImportsPage(NamedTuple):
    """A page of imports; `after` is the last of them when others are behind it."""

    imports: list[ImportFacts]
    after: UUID | None


def list_inboxes(session: Session) -> list[InboxFacts]:
    """Lists the inboxes by portal and reference."""
    return fetch(session, InboxFacts, LIST_INBOXES)


def list_inbox_files(session: Session) -> dict[UUID, list[InboxFileFacts]]:
    """Lists the files that wait or were refused, by inbox, the latest first."""
    files: dict[UUID, list[InboxFileFacts]] = {}
    for one in fetch(session, InboxFileFacts, LIST_FILES, {"limit": WAITING_FILES}):
        files.setdefault(one.inbox_id, []).append(one)
    return files


def list_imports(session: Session, *, after: UUID | None = None) -> ImportsPage:
    """Lists a page of imports, the latest first.

    Parameters:
      after: the last import of the page before.
    """
    read_by_index(session)
    asked = {"before": after or UUID(int=2**128 - 1), "limit": PAGE + 1}
    found = fetch(session, ImportFacts, LIST_IMPORTS, asked)
    return ImportsPage(found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None)


def read_import(session: Session, job_id: UUID) -> ImportFacts | None:
    """Reads the import that a job does; None when the job imports no file."""
    read_by_index(session)
    return fetch_one(session, ImportFacts, READ_IMPORT, {"id": job_id})


__all__ = [
    "ImportFacts",
    "ImportsPage",
    "InboxFacts",
    "InboxFileFacts",
    "list_imports",
    "list_inbox_files",
    "list_inboxes",
    "read_import",
]
