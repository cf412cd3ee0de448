"""Builders of rows of any age for the tests of retention, written straight into the tables; a row ended
at its moment.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.certificate import CertificateFile
from models.portal import LOCAL_PORTAL_ID
from models.retention import first_id
from tests.kit.builders.accounts import make_account
from tests.kit.builders.contracts import query
from workers.database import Session

JOB = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, message, result, created_at, finished_at, due_at,
      leased_until)
    VALUES (:id, :portal, :kind, 'enrollments', :id, CAST(:state AS text), CAST(:request AS json), :message,
      CAST(:result AS json), :at, CASE WHEN :ended THEN CAST(:at AS timestamptz) END,
      CASE WHEN NOT :ended AND NOT :unserved THEN CAST(:at AS timestamptz) END,
      CASE WHEN CAST(:state AS text) = 'running' THEN CAST(:at AS timestamptz) END)"""

EMAIL = """
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      context, result, error, created_at, finished_at, due_at)
    VALUES (:id, 'invitation', 'emails', :id, CAST(:id AS text), :to_address, 'fr', '<a@b>', :at, :at, :state,
      CAST(:context AS json), CAST(:result AS json), CAST(:error AS json), :at,
      CASE WHEN :ended THEN CAST(:at AS timestamptz) END, CASE WHEN NOT :ended THEN CAST(:at AS timestamptz) END)"""

ERROR = '{"class": "failed", "reason": "recipient_refused", "message": "RCPT 550 \\u0000 \\"reason\\": \\"x\\""}'


def at_age(session: Session, age: timedelta) -> datetime:
    [(now,)] = query(session, "SELECT now()")
    return now - age  # type: ignore[no-any-return]


def id_of(moment: datetime) -> UUID:
    """Returns a UUIDv7 made at this moment."""
    return UUID(int=first_id(moment).int | (new_id().int & ((1 << 80) - 1)))


def insert(session: Session, statement: str, moment: datetime, values: dict[str, Any]) -> UUID:
    row_id = id_of(moment)
    session.execute(text(statement), {"id": row_id, "at": moment, "ended": True} | values)
    return row_id


def job(session: Session, moment: datetime, **values: Any) -> UUID:
    given = {"portal": LOCAL_PORTAL_ID, "kind": "enroll", "state": "succeeded", "request": "{}", "message": None,
             "result": '{"code": "exported"}', "unserved": False}  # fmt: skip
    return insert(session, JOB, moment, given | values)


def mail(session: Session, moment: datetime, **values: Any) -> UUID:
    given = {"to_address": "a@example.com", "state": "failed", "context": "{}", "result": "{}", "error": ERROR}
    return insert(session, EMAIL, moment, given | values)


def job_with_people(session: Session, moment: datetime) -> None:
    row_id = job(session, moment)
    session.execute(text("INSERT INTO job_person (job_id, position, code) VALUES (:id, 0, 'enrolled')"), {"id": row_id})


def link(session: Session, moment: datetime, how: str) -> None:
    columns = {"used": "consumed_at", "voided": "voided_at"}.get(how)
    far = moment + timedelta(days=10_000) if columns else moment
    extra = f", {columns}" if columns else ""
    session.execute(
        text(f"INSERT INTO link (id, purpose, account_id, key_id, expires_at{extra}) VALUES"
             f" (:id, 'activation', :account, 'test', :far{', :at' if columns else ''})"),
        {"id": id_of(moment - timedelta(days=30)), "account": make_account(session, f"{new_id()}@a.test"),
         "far": far, "at": moment},
    )  # fmt: skip


def correction(session: Session, moment: datetime, state: str = "applied") -> None:
    session.execute(
        text("INSERT INTO email_correction (id, account_id, portal_id, job_id, old_email, new_email, state, ended_at)"
             " VALUES (:id, :account, :id, :id, 'a@a.test', 'b@a.test', CAST(:state AS text),"
             " CASE WHEN CAST(:state AS text) <> 'pending' THEN CAST(:at AS timestamptz) END)"),
        {"id": id_of(moment), "account": make_account(session, f"{new_id()}@a.test"), "at": moment, "state": state},
    )  # fmt: skip


def name_correction(session: Session, moment: datetime, state: str = "applied") -> None:
    session.execute(
        text("INSERT INTO name_correction (id, account_id, portal_id, job_id, old_first_name, old_last_name,"
             " new_first_name, new_last_name, state, ended_at)"
             " VALUES (:id, :account, :id, :id, 'Ana', 'Dû', 'Anna', 'Dû', CAST(:state AS text),"
             " CASE WHEN CAST(:state AS text) <> 'pending' THEN CAST(:at AS timestamptz) END)"),
        {"id": id_of(moment), "account": make_account(session, f"{new_id()}@a.test"), "at": moment, "state": state},
    )  # fmt: skip


def webhook(session: Session, moment: datetime, state: str = "delivered", *, orphan: bool = False) -> None:
    """Creates a webhook of an endpoint, or of one that was deleted; one that is owed or held has not ended."""
    endpoint = new_id()
    if not orphan:
        session.execute(text("INSERT INTO webhook_endpoint (id, portal_id, reference, url, master_id)"
                             " VALUES (:id, :portal, CAST(:id AS text), 'https://a.test', 'k')"),
                        {"id": endpoint, "portal": LOCAL_PORTAL_ID})  # fmt: skip
    insert(
        session,
        "INSERT INTO webhook (id, endpoint_id, portal_id, event, resource, sequence, payload, state, expires_at, queue,"
        " lane, finished_at) VALUES (:id, :endpoint, :portal, 'job.finished', 'job:1', 1, '{}', CAST(:state AS text),"
        " :at, 'webhooks', :id, CASE WHEN :state IN ('delivered', 'failed') THEN CAST(:at AS timestamptz) END)",
        moment,
        {"endpoint": endpoint, "portal": LOCAL_PORTAL_ID, "state": state},
    )


def webhook_attempt(session: Session, moment: datetime) -> None:
    session.execute(text("INSERT INTO webhook_attempt (webhook_id, at, milliseconds) VALUES (:id, :at, 5)"),
                    {"id": new_id(), "at": moment})  # fmt: skip


def holder(session: Session, moment: datetime) -> None:
    kept = moment + timedelta(days=0)
    session.execute(text("INSERT INTO certificate_holder VALUES (:id, 'Anne', 'Lorval', :at)"),
                    {"id": new_id(), "at": kept})  # fmt: skip


def audit(session: Session, moment: datetime) -> None:
    session.execute(
        text("INSERT INTO audit (action, at, requested_by, result) VALUES ('retry', :at, '', 'done')"), {"at": moment}
    )


def roster_file(session: Session, moment: datetime) -> None:
    session.execute(text("INSERT INTO roster_file (portal_id, sha256, size, used_at) VALUES (:p, :sha, 1, :at)"),
                    {"p": LOCAL_PORTAL_ID, "sha": b"x" * 32, "at": moment})  # fmt: skip
    session.execute(text("INSERT INTO roster_part VALUES (:p, :sha, 0, 'x')"), {"p": LOCAL_PORTAL_ID, "sha": b"x" * 32})


def roster_upload(session: Session, moment: datetime) -> None:
    session.execute(text("INSERT INTO roster_file (portal_id, sha256, size, used_at) VALUES (:p, :sha, 0, :at)"),
                    {"p": LOCAL_PORTAL_ID, "sha": b"x" * 16, "at": moment})  # fmt: skip
    session.execute(text("INSERT INTO roster_part VALUES (:p, :sha, 0, 'x')"), {"p": LOCAL_PORTAL_ID, "sha": b"x" * 16})


def roster(session: Session, moment: datetime, *, done: bool = True) -> None:
    job_id = job(session, moment, kind="import_roster", ended=done, state="succeeded" if done else "queued")
    session.execute(
        text("INSERT INTO roster (job_id, portal_id, fingerprint, sha256, file_name, reading)"
             " VALUES (:id, :p, '', :sha, 'équipe.csv', '{}')"), {"id": job_id, "p": LOCAL_PORTAL_ID, "sha": b"x" * 32},
    )  # fmt: skip


def inbox_file(session: Session, moment: datetime) -> None:
    session.execute(text("INSERT INTO inbox_file (inbox_id, name, version, put_away_at) VALUES (:id, 'x', '1', :at)"),
                    {"id": new_id(), "at": moment})  # fmt: skip


def roster_address(session: Session, moment: datetime) -> None:
    job_id = job(session, moment, kind="import_roster", state="dead")
    session.execute(text("INSERT INTO roster_address (job_id, address) VALUES (:id, :id)"), {"id": job_id})


def duplicates_file(session: Session, moment: datetime, kind: str = "pdf") -> None:
    dropped = moment if kind == "zip" else None
    file = CertificateFile(job_id=new_id(), portal_id=LOCAL_PORTAL_ID, name="a", kind=kind, sha256="x", size=1,
                           key_id="k", created_at=moment, expires_at=moment, dropped_at=dropped)  # fmt: skip
    session.add(file)
    session.flush()


def queue_pause(session: Session, at: datetime) -> None:
    """Adds a pause of a queue that ended at a moment."""
    pause = "INSERT INTO queue_pause (id, queue, reason, paused_by, until) VALUES (:id, 'rosters', 'x', 'shell:a', :at)"
    session.execute(text(pause), {"id": new_id(), "at": at})


def ops_session(session: Session, at: datetime) -> None:
    """Adds a session of a user of the console that began at a moment."""
    session.execute(text("INSERT INTO ops_user (name, role) VALUES ('anne', 'reader')"))
    begun = "INSERT INTO ops_session (id, token_hash, name, created_at) VALUES (:id, 'x', 'anne', :at)"
    session.execute(text(begun), {"id": new_id(), "at": at})


def action(session: Session, moment: datetime, state: str = "done") -> None:
    """Adds an action of operators that was shown at this moment, with one row; one that runs has a next part."""
    asked = {"id": id_of(moment), "state": state, "row": new_id()}
    session.execute(
        text(
            "INSERT INTO ops_action (id, verb, state, expected, asked_by, due_at) VALUES (:id, 'retry',"
            " CAST(:state AS text), 1, 'ops', CASE WHEN CAST(:state AS text) = 'running' THEN now() END)"
        ),
        asked,
    )
    session.execute(
        text(
            "INSERT INTO ops_action_row (action_id, row_id, ledger, state, claim) VALUES (:id, :row, 'job', 'dead', 1)"
        ),
        asked,
    )
