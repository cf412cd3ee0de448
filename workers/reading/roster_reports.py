"""Shows the import of a roster file to its portal: how the file was understood, how far it is, what came of it."""

import json
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select

from models.roster import RosterFile, RosterImport
from workers.database import Session
from workers.portals.keys import KnownKey
from workers.reading.jobs import show_recorded_job
from workers.reading.visible_jobs import find_visible_job
from workers.requests.imports import ImportRoster
from workers.sql import fetch_value

SHOWN: Final = ("contract", "dry_run", "policy", "notify", "report_to", "report_locale")
"""The fields of the request that the report repeats."""


def show_import(session: Session, key: KnownKey, job_id: UUID) -> dict[str, Any] | None:
    """Returns the report of an import without its people; None when this key may see no such import."""
    found = find_visible_job(session, key, job_id, whole=True)
    if found is None or found.kind != ImportRoster.kind:
        return None
    job = show_recorded_job(session, key.portal_id, job_id, most=0)
    if job is None:
        return None
    asked: dict[str, Any] = json.loads(found.request) if found.request else {}
    defaults = {name: ImportRoster.model_fields[name].default for name in SHOWN if name != "contract"}
    result = {name: value for name, value in job["result"].items() if name not in ("people", "people_next")}
    return job | {"result": result} | {name: asked.get(name, defaults.get(name)) for name in SHOWN}


def find_kept_reading(session: Session, job_id: UUID) -> tuple[bool, bool]:
    """Tells of an import whether its file was read, and whether the file is kept still."""
    imported = select(RosterImport).where(col(RosterImport.job_id) == job_id)
    row = session.exec(imported).first()
    if row is None:
        return False, True
    kept = select(col(RosterFile.size)).where(
        col(RosterFile.portal_id) == row.portal_id, col(RosterFile.sha256) == row.sha256
    )
    return row.reading is not None, fetch_value(session, int, kept) is not None
