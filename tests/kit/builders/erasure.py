"""The tests of erasure use these: Anne and her names, the request, and the rows that still identify her."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.contracts import everything, someone
from workers.actors.registry import do_jobs
from workers.database import Session
from workers.engine import ledger
from workers.engine.acceptance import accept
from workers.engine.ledger import JOBS
from workers.reading.jobs import show_job
from workers.requests.accounts import ErasePerson, ExportPerson
from workers.requests.queues import Queue

ANNE = "anne.lorval@example.com"
REASON = "demande du 3 mars"
WORDS = ("anne.", "anne-", "lorval", "M-0042", "L.-Q")


def anne(**more: str) -> Any:
    return someone(ANNE, "Anne-Lise", "Lorval-Quimper", **more)


def erasing(email: str = ANNE) -> ErasePerson:
    return ErasePerson(email=email, reason=REASON, requested_by="dpo-1")


def start(session: Session, contract: str, progress: str) -> None:
    session.execute(
        text("UPDATE enrollment SET progress = CAST(:progress AS text), started_at = '2026-02-03T10:00Z',"
             " completed_at = CASE WHEN CAST(:progress AS text) = 'completed' THEN timestamptz '2026-03-05T12:00Z' END"
             " WHERE contract_id = (SELECT id FROM contract WHERE reference = :contract)"),
        {"progress": progress, "contract": contract},
    )  # fmt: skip


def other_portal(session: Session, contract: str) -> UUID:
    """Creates another portal and gives it this contract."""
    portal = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, :name)"), {"id": portal, "name": str(portal)})
    session.execute(text("UPDATE contract SET portal_id = :id WHERE reference = :contract"),
                    {"id": portal, "contract": contract})  # fmt: skip
    return portal


def did_for(session: Session, portal: UUID, request: ErasePerson | ExportPerson) -> dict[str, Any]:
    """Does a request as a job of another portal; returns the job as that portal sees it."""
    job = accept(session, portal, request, request.model_dump_json(), key=f"key-{new_id()}").job_id
    found = ledger.claim(session, JOBS, Queue.MAINTENANCE, size=200, lease=30, worker=new_id())
    ledger.finish(session, JOBS, do_jobs(session, found))
    return show_job(session, job) or {}


def traces(session: Session, *words: str) -> dict[str, list[str]]:
    """Returns the rows that still contain one of these words, by table."""
    looked = {
        table: [row for row in found if any(word.lower() in row.lower() for word in words)]
        for table, found in everything(session).items()
    }
    return {table: found for table, found in looked.items() if found}
