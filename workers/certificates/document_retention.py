"""Documents whose time is over: which bytes to delete, and forgetting them once they are gone."""

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session, array

PART: Final = 500
"""Documents deleted in one go."""

# What a certificate says was emptied: its documents say it still. A zip is behind a link that has ended.
FIND_EXPIRED_DOCUMENTS = text("""
    (SELECT r.id, r.sha256, '.pdf' AS suffix, true AS rendering FROM rendering r
      JOIN certificate k ON k.id = r.certificate_id WHERE k.snapshot IS NULL ORDER BY r.id LIMIT :part)
    UNION ALL
    (SELECT f.id, f.sha256, '.zip', false FROM certificate_file f
      WHERE f.kind = 'zip' AND f.expires_at < now() AND f.dropped_at IS NULL ORDER BY f.id LIMIT :part)""")

FORGET_RENDERINGS = text("DELETE FROM rendering WHERE id = ANY(CAST(:ids AS uuid[]))")

DROP_FILES = text("UPDATE certificate_file SET dropped_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))")


class ExpiredDocument(NamedTuple):
    """Bytes to be deleted from the store."""

    id: UUID
    sha256: str
    suffix: str
    rendering: bool


def find_over(session: Session) -> list[ExpiredDocument]:
    """At most a part of each kind."""
    return [ExpiredDocument(*row) for row in session.execute(FIND_EXPIRED_DOCUMENTS, {"part": PART})]


def forget(session: Session, deleted: list[ExpiredDocument]) -> None:
    """Remembers that these are gone."""
    session.execute(FORGET_RENDERINGS, {"ids": array(one.id for one in deleted if one.rendering)})
    session.execute(DROP_FILES, {"ids": array(one.id for one in deleted if not one.rendering)})
