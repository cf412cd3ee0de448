"""Empties and deletes rows at the end of their retention (``models/retention.py``), in short transactions.

Only finished rows are touched: a job or mail that is owed, running or waiting has no `finished_at`, whatever its age.
Rows that another transaction has locked are skipped until the next run.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text

from models.ops_action import ActionState
from models.retention import PART, RETENTION, RetentionClass, first_id
from models.roster import UPLOAD_NAME_BYTES
from models.throttle import KEPT_LONGER
from models.words import JobState, WebhookState
from workers.database import Session, read_whole_tables
from workers.engine.acceptance import owe_successor
from workers.requests.internal import Purge
from workers.requests.registry import KINDS
from workers.sql import Unnest, change, fetch


class KeptFor(NamedTuple):
    """A retention class and its duration, in the form in which PostgreSQL reads an interval."""

    kept: str
    keeps: str


class KeptUntil(NamedTuple):
    """A retention class and its limit: rows that ended before this moment are no longer kept."""

    kept: str
    moment: datetime


RULES: Final = Unnest(KeptFor, None, alias="given", others={"kept": "text", "keeps": "text"})

# The clock of the database is used, because it wrote the moments that these limits are compared with.
READ_MOMENTS = text(f"SELECT given.kept, now() - CAST(given.keeps AS interval) AS moment FROM {RULES}")

# Class and reason of an error stay: they name no person, and decide whether ops have to look at the row. They are cut
# out of the text, because PostgreSQL's json operators fail on a U+0000 anywhere in it.
SHORT_ERROR: Final = """json_build_object(
    'class', substring(CAST(error AS text) FROM '"class": "([^"\\\\]*)"'),
    'reason', substring(CAST(error AS text) FROM '"reason": "([^"\\\\]*)"'))"""
LONG_ERROR: Final = """(error IS NOT NULL AND CAST(error AS text) LIKE '%"message"%')"""

ENDED: Final = "id < :first AND finished_at < :until"

# These identifiers grow with time: the search ends at the first one that is young enough, and reads no other.
OLD_AUDIT: Final = """
    at < :until AND id < coalesce((SELECT id FROM audit WHERE at >= :until ORDER BY id LIMIT 1), 9223372036854775807)"""


OLD_ATTEMPTS: Final = """
    at < :until AND id < coalesce(
      (SELECT id FROM webhook_attempt WHERE at >= :until ORDER BY id LIMIT 1), 9223372036854775807)"""

# An endpoint is deleted at once, and what it was told or owed by the next purges.
OF_NO_ENDPOINT: Final = "NOT EXISTS (SELECT FROM webhook_endpoint w WHERE w.id = endpoint_id)"

OF_ACTION: Final = "ops_action a WHERE a.id = action_id"

ROUTINES: Final = ", ".join(f"'{kind}'" for kind, request in KINDS.items() if request.routine)


_LONGER: Final = ", ".join(f"'{scope}'" for scope in KEPT_LONGER)

FEWER: Final = {RetentionClass.ROSTER_FILE: 100, RetentionClass.ROSTER_UPLOAD: 100}
"""Rows of a part, where a row is deleted together with many others: a file has a row per megabyte."""


def _part(table: str, which: str, *, setting: str = "", order: str = "id") -> TextClause:
    """Builds the statement that updates or deletes at most `:part` of the rows that meet the condition."""
    verb = f"UPDATE {table} SET {setting}" if setting else f"DELETE FROM {table}"
    sorted_by = f"ORDER BY {order}" if order else ""
    return text(f"""
        {verb} WHERE ctid = ANY(ARRAY(
          SELECT ctid FROM {table} WHERE {which} {sorted_by} LIMIT :part FOR UPDATE SKIP LOCKED))""")


STATEMENTS: Final[dict[RetentionClass, TextClause]] = {
    RetentionClass.REQUEST: _part(
        "job",
        f"{ENDED} AND state <> '{JobState.DEAD}' AND (request IS NOT NULL OR message IS NOT NULL)",
        setting="request = NULL, message = NULL",
    ),
    RetentionClass.DEAD_REQUEST: _part(
        "job",
        f"{ENDED} AND state = '{JobState.DEAD}' AND (request IS NOT NULL OR message IS NOT NULL)",
        setting="request = NULL, message = NULL",
    ),
    RetentionClass.EXPORT: _part(
        "job", f"{ENDED} AND kind = 'export_person' AND result IS NOT NULL", setting="result = NULL"
    ),
    RetentionClass.PEOPLE: _part(
        "job_person",
        "job_id < :first AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = job_id"
        " AND (j.finished_at IS NULL OR j.finished_at >= :until))",
        order="job_id, position",
    ),
    RetentionClass.JOB: _part("job", f"{ENDED} AND NOT EXISTS (SELECT 1 FROM job_person p WHERE p.job_id = job.id)"),
    RetentionClass.MAIL_WORDS: _part(
        "email",
        f"{ENDED} AND (context IS NOT NULL OR result IS NOT NULL OR {LONG_ERROR})",
        setting="context = NULL, result = NULL, trouble = NULL,"
        f" error = CASE WHEN error IS NOT NULL THEN {SHORT_ERROR} END",
    ),
    RetentionClass.MAIL_ADDRESS: _part("email", f"{ENDED} AND to_address <> ''", setting="to_address = ''"),
    RetentionClass.MAIL: _part("email", ENDED),
    RetentionClass.LINK: _part("link", "id < :first AND coalesce(consumed_at, voided_at, expires_at) < :until"),
    RetentionClass.CORRECTION: _part(
        "email_correction",
        "id < :first AND ended_at < :until AND (old_email <> '' OR new_email <> '')",
        setting="old_email = '', new_email = ''",
    ),
    RetentionClass.NAME_CORRECTION: _part(
        "name_correction",
        "id < :first AND ended_at < :until"
        " AND old_first_name || old_last_name || new_first_name || new_last_name <> ''",
        setting="old_first_name = '', old_last_name = '', new_first_name = '', new_last_name = ''",
    ),
    RetentionClass.HOLDER: _part("certificate_holder", "kept_until < now()", order=""),
    RetentionClass.CERTIFICATE: _part(
        "certificate",
        "kept_until < now() AND snapshot IS NOT NULL AND EXISTS (SELECT 1 FROM enrollment e"
        " JOIN account a ON a.id = e.account_id WHERE e.id = enrollment_id AND a.erased_at IS NOT NULL)",
        setting="snapshot = NULL",
        order="",
    ),
    RetentionClass.DUPLICATES_FILE: _part(
        "certificate_file", "created_at < :until AND (kind = 'pdf' OR dropped_at IS NOT NULL)", order=""
    ),
    RetentionClass.AUDIT: _part("audit", OLD_AUDIT),
    RetentionClass.KEY: _part("idempotency", "created_at < :until", order=""),
    RetentionClass.ATTEMPT: _part("job_attempt", "created_at < :until", order=""),
    RetentionClass.WEBHOOK_ATTEMPT: _part("webhook_attempt", OLD_ATTEMPTS),
    RetentionClass.WEBHOOK: _part("webhook", f"({ENDED}) OR {OF_NO_ENDPOINT}"),
    RetentionClass.HELD_WEBHOOK: _part("webhook", f"id < :first AND state = '{WebhookState.HELD}'"),
    RetentionClass.SIGN_IN: _part("sign_in", "failed_at < :until", order=""),
    RetentionClass.THROTTLE: _part("throttle", f"at < :until AND NOT scope = ANY(ARRAY[{_LONGER}])", order=""),
    RetentionClass.CORRECTION_THROTTLE: _part("throttle", "at < :until", order=""),
    RetentionClass.SUPPRESSION: _part("suppression", "until <= now()", order=""),
    RetentionClass.ROSTER_FILE: _part(
        "roster_file",
        "used_at < :until AND NOT EXISTS (SELECT 1 FROM roster ro JOIN job j ON j.id = ro.job_id"
        " WHERE ro.sha256 = roster_file.sha256 AND ro.portal_id = roster_file.portal_id AND j.finished_at IS NULL)",
        order="",
    ),
    RetentionClass.ROSTER_UPLOAD: _part(
        "roster_file", f"used_at < :until AND octet_length(sha256) = {UPLOAD_NAME_BYTES}", order=""
    ),
    RetentionClass.ROSTER_NAME: _part(
        "roster",
        "job_id < :first AND (file_name <> '' OR reading IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM job j"
        " WHERE j.id = job_id AND j.finished_at IS NULL)",
        setting="file_name = '', reading = NULL",
        order="job_id",
    ),
    RetentionClass.ROSTER: _part(
        "roster", "job_id < :first AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = job_id)", order="job_id"
    ),
    RetentionClass.ROSTER_ADDRESS: _part(
        "roster_address",
        "job_id < :first AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = job_id"
        " AND (j.finished_at IS NULL OR j.finished_at >= :until))",
        order="job_id, address",
    ),
    RetentionClass.INBOX_FILE: _part("inbox_file", "put_away_at < :until", order=""),
    RetentionClass.ROUTINE: _part(
        "job", f"{ENDED} AND kind = ANY(ARRAY[{ROUTINES}]) AND state = '{JobState.SUCCEEDED}'"
    ),
    RetentionClass.PROCESS: _part("process", "seen_at < :until", order=""),
    RetentionClass.LEDGER_MINUTE: _part("ledger_minute", "minute < :until", order=""),
    RetentionClass.LEDGER_HOUR: _part("ledger_hour", "hour < :until", order=""),
    RetentionClass.LEDGER_DEPTH: _part("ledger_depth", "minute < :until", order=""),
    RetentionClass.RELEASE_RUN: _part("release_run", "last_seen_at < :until", order=""),
    RetentionClass.QUEUE_PAUSE: _part("queue_pause", "queue_pause.until < :until", order=""),
    RetentionClass.SHOWN_ROW: _part(
        "ops_action_row",
        f"action_id < :first AND NOT EXISTS (SELECT FROM {OF_ACTION} AND a.state <> '{ActionState.SHOWN}')",
        order="action_id, row_id",
    ),
    RetentionClass.SHOWN_ACTION: _part("ops_action", f"id < :first AND state = '{ActionState.SHOWN}'"),
    RetentionClass.ACTION_ROW: _part(
        "ops_action_row",
        f"action_id < :first AND NOT EXISTS (SELECT FROM {OF_ACTION} AND a.due_at IS NOT NULL)",
        order="action_id, row_id",
    ),
    RetentionClass.ACTION: _part("ops_action", "id < :first AND due_at IS NULL"),
    RetentionClass.OPS_SESSION: _part("ops_session", "created_at < :until", order=""),
}
"""The statement of each retention class, in an order that deletes a job in the run that deletes its results."""


def purge(session: Session, part: int = PART) -> dict[RetentionClass, int]:
    """Empties or deletes rows at the end of their retention: at most `part` of each class, fewer of some (``FEWER``).

    Returns: the number of rows changed, by class.
    """
    read_whole_tables(session)
    rules = RULES.parameters([KeptFor(matter, rule.keeps) for matter, rule in RETENTION.items()])
    until = {RetentionClass(kept): moment for kept, moment in fetch(session, KeptUntil, READ_MOMENTS, rules)}
    changed = {}
    for matter, statement in STATEMENTS.items():
        asked = {"until": until[matter], "first": first_id(until[matter]), "part": _size(matter, part)}
        changed[matter] = change(session, statement, asked)
    return changed


def _size(matter: RetentionClass, part: int) -> int:
    return min(part, FEWER.get(matter, part))


def purge_job(session: Session, _: UUID, job_id: UUID, request: Purge) -> tuple[JobState, dict[str, Any]]:
    """Does a `purge` job: one part of each class. If a part was full, the job owes the next job."""
    changed = purge(session, PART)
    more = any(count >= _size(matter, PART) for matter, count in changed.items())
    if more:
        owe_successor(session, job_id, request)
    return JobState.SUCCEEDED, {"deleted": changed, "more": more}
