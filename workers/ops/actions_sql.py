"""The statements of actions of operators: they freeze a set of rows, say what it holds, and change its next rows.

Each changes rows only that are as they were shown, and notes in `ops_action_row` what became of each, in the same
statement. Lock order: the action, then its rows by identifier. A row that another transaction holds is left alone:
up to a thousand rows would be held while it is waited for, and could not be claimed.
"""

from typing import Final

from sqlalchemy import text

from models.ops_action import MOST_ROWS, ActionState, ActionVerb, RowOutcome, SkipReason
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, EmailState, JobState
from workers.engine.ledger import EMAILS, JOBS, LEDGERS, Claimed, Ledger
from workers.engine.owed_tables import BY_ID
from workers.ops.row_filter import TROUBLE, narrowed
from workers.ops.stuck import STUCK

CANCELLED: Final = {JOBS.table: JobState.CANCELLED, EMAILS.table: EmailState.CANCELLED}

_NOT_BEGUN: Final = {JOBS.table: " AND position = 0", EMAILS.table: ""}


def _fit(verb: ActionVerb, ledger: Ledger[Claimed]) -> str:
    """Returns the SQL condition of the rows that an action is for."""
    if verb is ActionVerb.CANCEL:
        waits = "due_at IS NOT NULL AND leased_until IS NULL"
        return f"state = '{ledger.waiting}' AND {waits}{_NOT_BEGUN[ledger.table]}"
    return f"({ledger.stuck})" + (" AND dismissed_at IS NULL" if verb is ActionVerb.DISMISS else "")


def _chosen(verb: ActionVerb, ledger: Ledger[Claimed]) -> str:
    """Returns the SQL condition of the rows that a filter chooses from, with the one of the index that holds them."""
    if verb is ActionVerb.CANCEL:
        return f"{_fit(verb, ledger)} AND {narrowed(ledger.table, 'created_at')}"
    return f"{STUCK[ledger.table]} AND {_fit(verb, ledger)} AND {narrowed(ledger.table, 'finished_at')}"


ACTING: Final = (ActionVerb.RETRY, ActionVerb.DISMISS, ActionVerb.CANCEL)
"""The verbs that operators apply to rows."""


def _frozen(table: str, condition: str) -> str:
    return f"""
        INSERT INTO ops_action_row (action_id, row_id, ledger, state, claim, ended_at, dismissed_at)
        SELECT :action, t.id, '{table}', t.state, t.claim, t.finished_at, t.dismissed_at FROM {table} t
        WHERE {condition}"""


FREEZE_CHOSEN: Final = {
    (verb, ledger.table): text(
        _frozen(ledger.table, f"{_chosen(verb, ledger)} ORDER BY t.id LIMIT {MOST_ROWS} - CAST(:taken AS bigint)")
    )
    for verb in ACTING
    for ledger in LEDGERS
}
"""The statement that freezes the rows that meet a filter, the oldest first, for each verb and ledger."""

FREEZE_NAMED: Final = {
    ledger.table: text(_frozen(ledger.table, "t.id = ANY(CAST(:ids AS uuid[]))")) for ledger in LEDGERS
}
"""The statement that freezes rows that were named, fit or not."""

# Freezes the rows that another action changed.
FREEZE_CHANGED: Final = text(f"""
    INSERT INTO ops_action_row (action_id, row_id, ledger, state, claim, ended_at, dismissed_at)
    SELECT :action, row_id, ledger, state, claim, ended_at, dismissed_at FROM ops_action_row
    WHERE action_id = :undoes AND outcome = '{RowOutcome.DONE}'""")

_CONTRACT: Final = {
    JOBS.table: """coalesce(substring(CAST(t.request AS text), '"contract" ?: ?"([^"]*)"'), '')""",
    EMAILS.table: "coalesce((SELECT c.reference FROM contract c WHERE c.id = t.contract_id), '')",
}

DESCRIBE: Final = {
    ledger.table: text(f"""
        SELECT d.ledger, d.kind, d.state, d.trouble, d.contract, d.kept, count(*) AS rows, min(d.created_at) AS oldest
        FROM (
          SELECT r.ledger, t.kind, t.state, coalesce({TROUBLE}, '') AS trouble, t.created_at,
            {_CONTRACT[ledger.table]} AS contract, ({ledger.kept}) AS kept
          FROM ops_action_row r JOIN {ledger.table} t ON t.id = ANY(ARRAY[r.row_id])
          WHERE r.action_id = :action AND r.ledger = '{ledger.table}') d
        GROUP BY 1, 2, 3, 4, 5, 6""")
    for ledger in LEDGERS
}
"""The statement that counts the rows of a set by what they have in common."""


def _before(verb: ActionVerb, table: str) -> str:
    """Returns the SQL value of what an undo has to put back; the text of an error is not copied."""
    if verb is ActionVerb.DISMISS:
        return "CAST(NULL AS json)"
    if verb is ActionVerb.CANCEL:
        return "json_build_object('due_at', t.due_at, 'result', t.result IS NOT NULL)"
    expires = ", 'expires_at', t.expires_at" if table == EMAILS.table else ""
    return f"""json_build_object('failures', t.failures, 'rescues', t.rescues, 'postponements', t.postponements,
            'postponed_at', t.postponed_at, 'trouble', t.trouble IS NOT NULL{expires})"""


def _assigned(verb: ActionVerb, ledger: Ledger[Claimed]) -> str:
    if verb is ActionVerb.DISMISS:
        return "dismissed_at = now()"
    if verb is ActionVerb.CANCEL:
        result = f"coalesce(t.result, json_build_object('code', '{Code.CANCELLED}'))"
        return f"state = '{CANCELLED[ledger.table]}', due_at = NULL, finished_at = now(), result = {result}"
    return ledger.revival


_SAME: Final = """t.state = m.state AND t.claim = m.claim AND t.finished_at IS NOT DISTINCT FROM m.ended_at
              AND t.dismissed_at IS NOT DISTINCT FROM m.dismissed_at"""


def _acted(ledger: Ledger[Claimed], *, members: str, why: str, before: str, assigned: str, facts: str) -> str:
    """Builds the SQL that changes those of the next rows that may be changed, and notes the end of each.

    Parameters:
      members: the SQL of the next rows of the set, as they are to be found.
      why: the SQL value of the reason to leave a row alone, NULL if there is none.
      facts: further SQL values of a row of the ledger, which `why` reads.
    """
    return f"""
        WITH m AS MATERIALIZED ({members} ORDER BY r.row_id),
        judged AS MATERIALIZED (
          SELECT m.*, {why} AS why, {before} AS kept_before
          FROM m LEFT JOIN LATERAL (
            SELECT *, {facts} FROM {ledger.table} l WHERE l.id = m.id FOR NO KEY UPDATE SKIP LOCKED) t ON true),
        moved AS (
          UPDATE {ledger.table} t SET {assigned} FROM judged m WHERE {BY_ID} AND m.why IS NULL
          RETURNING t.id, t.queue)
        UPDATE ops_action_row r SET why = m.why, before = m.kept_before, acted_at = now(),
          outcome = CASE WHEN m.why IS NULL THEN '{RowOutcome.DONE}' ELSE '{RowOutcome.SKIPPED}' END
        FROM judged m LEFT JOIN moved ON moved.id = m.id
        WHERE r.action_id = :action AND r.row_id = ANY(ARRAY[m.id])
        RETURNING r.row_id, r.ledger, r.state, r.outcome, r.why, moved.queue"""


def _missing(ledger: Ledger[Claimed], held: SkipReason) -> str:
    """Returns the SQL value of the reason for a row that was not found: it is held by another transaction, or gone."""
    return (
        f"CASE WHEN EXISTS (SELECT FROM {ledger.table} l WHERE l.id = m.id) THEN '{held}' ELSE '{SkipReason.GONE}' END"
    )


_LEFT: Final = "r.action_id = :action AND r.outcome IS NULL AND r.row_id = ANY(CAST(:ids AS uuid[]))"


def _act(verb: ActionVerb, ledger: Ledger[Claimed]) -> str:
    not_kept = f" WHEN NOT t.is_kept THEN '{SkipReason.NOT_KEPT}'" if verb is ActionVerb.RETRY else ""
    return _acted(
        ledger,
        members=f"""SELECT r.row_id AS id, r.state, r.claim, r.ended_at, r.dismissed_at FROM ops_action_row r
            WHERE {_LEFT} AND r.ledger = '{ledger.table}'""",
        why=f"""CASE WHEN t.id IS NULL THEN {_missing(ledger, SkipReason.CHANGED)}
            WHEN NOT ({_SAME}) THEN '{SkipReason.CHANGED}'
            WHEN NOT t.is_fit THEN '{SkipReason.UNFIT}'{not_kept} END""",
        before=_before(verb, ledger.table),
        assigned=_assigned(verb, ledger),
        facts=f"({_fit(verb, ledger)}) AS is_fit, ({ledger.kept}) AS is_kept",
    )


ACT: Final = {(verb, ledger.table): text(_act(verb, ledger)) for verb in ACTING for ledger in LEDGERS}
"""The statement that changes the next rows of an action, for each verb and ledger."""


def _as_left(verb: ActionVerb, ledger: Ledger[Claimed]) -> str:
    """Returns the SQL condition of a row that is still as the action left it."""
    if verb is ActionVerb.DISMISS:
        return "t.state = m.state AND t.claim = m.claim AND t.dismissed_at IS NOT DISTINCT FROM m.acted_at"
    if verb is ActionVerb.CANCEL:
        ended = "t.finished_at IS NOT DISTINCT FROM m.acted_at"
        return f"t.state = '{CANCELLED[ledger.table]}' AND t.claim = m.claim AND {ended}"
    return f"""t.state = '{ledger.waiting}' AND t.claim = m.claim AND t.failures = 0
              AND t.due_at IS NOT DISTINCT FROM m.acted_at AND num_nulls(t.leased_until) = 1"""


def _put_back(verb: ActionVerb, table: str) -> str:
    if verb is ActionVerb.DISMISS:
        return "dismissed_at = m.dismissed_at"
    ended = "state = m.state, finished_at = m.ended_at"
    if verb is ActionVerb.CANCEL:
        result = "CASE WHEN m.before ->> 'result' = 'true' THEN t.result END"
        return f"{ended}, due_at = CAST(m.before ->> 'due_at' AS timestamptz), result = {result}"
    numbers = ", ".join(
        f"{name} = CAST(m.before ->> '{name}' AS int)" for name in ("failures", "rescues", "postponements")
    )
    moments = ("postponed_at", "expires_at") if table == EMAILS.table else ("postponed_at",)
    times = ", ".join(f"{name} = CAST(m.before ->> '{name}' AS timestamptz)" for name in moments)
    return f"{ended}, due_at = NULL, dismissed_at = m.dismissed_at, trouble = m.trouble, {numbers}, {times}"


def _undo(verb: ActionVerb, ledger: Ledger[Claimed]) -> str:
    not_kept = f" WHEN NOT t.is_kept THEN '{SkipReason.NOT_KEPT}'" if verb is ActionVerb.CANCEL else ""
    troubles = "unnest(CAST(:troubled AS uuid[]), CAST(:troubles AS text[])) e (id, trouble)"
    return _acted(
        ledger,
        members=f"""SELECT r.row_id AS id, o.state, o.claim, o.ended_at, o.dismissed_at, o.acted_at, o.before, e.trouble
            FROM ops_action_row r JOIN ops_action_row o ON o.action_id = :undoes AND o.row_id = r.row_id
            LEFT JOIN {troubles} ON e.id = r.row_id
            WHERE {_LEFT} AND r.ledger = '{ledger.table}'""",
        why=f"""CASE WHEN t.id IS NULL THEN {_missing(ledger, SkipReason.BEGUN)}
            WHEN NOT ({_as_left(verb, ledger)}) THEN '{SkipReason.BEGUN}'{not_kept} END""",
        before="CAST(NULL AS json)",
        assigned=_put_back(verb, ledger.table),
        facts=f"({ledger.kept}) AS is_kept",
    )


UNDO: Final = {(verb, ledger.table): text(_undo(verb, ledger)) for verb in ACTING for ledger in LEDGERS}
"""The statement that takes back what an action did to the next rows, for each verb and ledger."""

READ_ERRORS: Final = {
    ledger.table: text(f"""
        SELECT t.id, CAST(t.error AS text) AS error
        FROM ops_action_row o JOIN {ledger.table} t ON t.id = ANY(ARRAY[o.row_id])
        WHERE o.action_id = :undoes AND o.row_id = ANY(CAST(:ids AS uuid[])) AND o.ledger = '{ledger.table}'
          AND o.before ->> 'trouble' = 'true' AND t.error IS NOT NULL""")
    for ledger in LEDGERS
}
"""The statement that reads the errors of rows that had a trouble before they were retried."""

# Takes the action that is due next; another clock leaves it alone until this transaction ends.
TAKE_ACTION: Final = text(f"""
    SELECT a.id, a.verb, a.undoes, o.verb AS undone_verb, a.asked_by, a.reason, a.expected, a.done, a.skipped,
      a.failed, a.canary, a.rate
    FROM ops_action a LEFT JOIN ops_action o ON o.id = a.undoes
    WHERE a.due_at <= now() AND a.state = '{ActionState.RUNNING}'
    ORDER BY a.due_at LIMIT 1 FOR UPDATE OF a SKIP LOCKED""")

# Picks the next rows of an action.
PICK_ROWS: Final = text("""
    SELECT row_id, ledger FROM ops_action_row WHERE action_id = :action AND outcome IS NULL
    ORDER BY row_id LIMIT :size""")

# Notes that the database refused to change a row.
NOTE_FAILED: Final = text(f"""
    UPDATE ops_action_row SET outcome = '{RowOutcome.FAILED}', why = :why, acted_at = now()
    WHERE action_id = :action AND row_id = :row
    RETURNING row_id, ledger, state, outcome, why, CAST(NULL AS text) AS queue""")

# Records in the audit trail which rows an action changed.
AUDIT_ROWS: Final = text(f"""
    INSERT INTO audit (action, result, portal_id, requested_by, subject_id, job_id, detail)
    SELECT :verb, 'done', '{LOCAL_PORTAL_ID}', :asked_by, r.row_id,
      CASE WHEN r.ledger = '{JOBS.table}' THEN r.row_id END,
      json_strip_nulls(json_build_object('ledger', r.ledger, 'action', r.action_id,
        'reason', nullif(CAST(:reason AS text), '')))
    FROM ops_action_row r
    WHERE r.action_id = :action AND r.row_id = ANY(CAST(:ids AS uuid[])) AND r.outcome = '{RowOutcome.DONE}'""")

# Counts the first rows of a retry that are not done yet, and those of which an attempt failed again. It reads only
# the rows that have an outcome, which come first in this order, because it runs every few seconds.
JUDGE_FIRST: Final = text(
    "SELECT coalesce(sum(f.size), 0)::int AS size, coalesce(sum(f.waiting), 0)::int AS waiting,"
    " coalesce(sum(f.ill), 0)::int AS ill FROM ("
    + " UNION ALL ".join(
        f"""SELECT count(*) AS size, count(*) FILTER (WHERE t.finished_at IS NULL AND t.failures = 0) AS waiting,
          count(*) FILTER (WHERE t.failures > 0 OR t.is_stuck) AS ill
        FROM (SELECT row_id, ledger, outcome FROM ops_action_row
          WHERE action_id = :action ORDER BY row_id LIMIT :taken) r
        CROSS JOIN LATERAL (SELECT finished_at, failures, ({ledger.stuck}) AS is_stuck
          FROM {ledger.table} WHERE id = ANY(ARRAY[r.row_id])) t
        WHERE r.ledger = '{ledger.table}' AND r.outcome = '{RowOutcome.DONE}'"""
        for ledger in LEDGERS
    )
    + ") f"
)

# Notes what a part of an action did, and when the next is due.
NOTE_PART: Final = text(f"""
    UPDATE ops_action SET done = done + :done, skipped = skipped + :skipped, failed = failed + :failed,
      canary = :canary, note = :note, state = CAST(:state AS text),
      finished_at = CASE WHEN CAST(:state AS text) <> '{ActionState.RUNNING}' THEN now() END,
      due_at = CASE WHEN CAST(:state AS text) = '{ActionState.RUNNING}' THEN now() + make_interval(secs => :seconds) END
    WHERE id = :action""")

# Locks an action that runs to note that a part of it failed.
LOCK_NOTE: Final = text(f"""
    SELECT note FROM ops_action WHERE id = :action AND state = '{ActionState.RUNNING}' FOR UPDATE""")

# Notes why a part of an action failed, and when it is tried again, if it is.
POSTPONE_ACTION: Final = text(f"""
    UPDATE ops_action SET note = :note, state = CAST(:state AS text),
      finished_at = CASE WHEN CAST(:state AS text) <> '{ActionState.RUNNING}' THEN now() END,
      due_at = CASE WHEN CAST(:state AS text) = '{ActionState.RUNNING}' THEN now() + make_interval(secs => :seconds) END
    WHERE id = :action""")

__all__ = [
    "ACT",
    "ACTING",
    "AUDIT_ROWS",
    "DESCRIBE",
    "FREEZE_CHANGED",
    "FREEZE_CHOSEN",
    "FREEZE_NAMED",
    "JUDGE_FIRST",
    "LOCK_NOTE",
    "NOTE_FAILED",
    "NOTE_PART",
    "PICK_ROWS",
    "POSTPONE_ACTION",
    "READ_ERRORS",
    "TAKE_ACTION",
    "UNDO",
]
