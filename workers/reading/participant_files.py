"""Reads all participants of a contract, a thousand at a time, for a file."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE
from models.paris import day_in_paris
from models.participant import StoredMail, mail_status
from models.words import Progress
from workers.database import Session, array
from workers.enrollment.searching import SHOWN_NAMES
from workers.reading import participant_rows as sql
from workers.rosters.known_columns import MAIL_WORDS, PROGRESS_WORDS
from workers.sql import fetch, fetch_values

CHUNK: Final = 1_000
"""Participants that are in memory at once."""

# Participants by their identifiers, with their latest mail; the latest participant comes first.
READ_FOR_FILE = text(f"""
    SELECT e.id, a.email_norm AS email, {SHOWN_NAMES}, a.locale, e.external_id, e.progress, e.started_at,
      e.completed_at, e.enrolled_at, a.activated_at,
      m.kind AS mail_kind, m.state AS mail_state, m.failures AS mail_failures, m.due_at AS mail_due_at,
      m.ended_at AS mail_finished_at, m.created_at AS mail_created_at, m.error AS mail_error
    FROM enrollment e JOIN account a ON a.id = e.account_id
    LEFT JOIN LATERAL (
      SELECT em.kind, em.state, em.failures, em.due_at, coalesce(em.returned_at, em.finished_at) AS ended_at,
        em.created_at, em.error
      FROM email em
      WHERE em.account_id = e.account_id AND em.enrollment_id = e.id ORDER BY em.id DESC LIMIT 1) m ON true
    WHERE e.id = ANY(CAST(:ids AS uuid[])) AND {LIVE} AND a.erased_at IS NULL ORDER BY e.id DESC""")


class _FileRow(NamedTuple):
    id: UUID
    email: str
    first_name: str
    last_name: str
    locale: str
    external_id: str | None
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    enrolled_at: datetime
    activated_at: datetime | None
    mail_kind: str | None
    mail_state: str | None
    mail_failures: int | None
    mail_due_at: datetime | None
    mail_finished_at: datetime | None
    mail_created_at: datetime | None
    mail_error: dict[str, Any] | None


class FileChunk(NamedTuple):
    """Rows of a file, and the identifier before which the next ones begin; None after the last."""

    rows: list[tuple[str, ...]]
    next: UUID | None


def read_chunk(session: Session, contract_id: UUID, before: UUID, locale: str) -> FileChunk:
    """Reads the next participants, the latest first, in the columns of ``participants_header``."""
    asked = {"contract": contract_id, "before": before, "size": CHUNK}
    ids = fetch_values(session, UUID, sql.PAGE, asked)
    found = fetch(session, _FileRow, READ_FOR_FILE, {"ids": array(ids)}) if ids else []
    return FileChunk([_cells(row, locale) for row in found], ids[-1] if len(ids) == CHUNK else None)


def _cells(row: _FileRow, locale: str) -> tuple[str, ...]:
    state, at = _mail(row, locale)
    return (
        *(row.last_name, row.first_name, row.email, row.locale, row.external_id or ""),
        PROGRESS_WORDS[locale][Progress(row.progress)],
        *map(_day, (row.started_at, row.completed_at, row.enrolled_at, row.activated_at)),
        *(state, at, str(row.id)),
    )


def _mail(row: _FileRow, locale: str) -> tuple[str, str]:
    """Returns the state of the latest mail in words, and its day; both are empty without a mail."""
    if row.mail_state is None:
        return "", ""
    times = (row.mail_due_at, row.mail_finished_at, row.mail_created_at)
    mail = mail_status(StoredMail(row.mail_kind or "", row.mail_state, row.mail_failures or 0, *times, row.mail_error))
    return MAIL_WORDS[locale][mail.state], _day(mail.at)


def _day(moment: datetime | None) -> str:
    """Returns the date in France, in the form that every spreadsheet reads."""
    return "" if moment is None else day_in_paris(moment).isoformat()
