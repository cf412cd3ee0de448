"""operators see what waits, and what went wrong, by indexes of these rows alone."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# As models/job.py has them today: PostgreSQL uses an index of an expression only for the same expression.
CLASS = """left(coalesce(substring(error::text, '"class" ?: ?"([^"]*)"'), ''), 80)"""
REASON = """left(coalesce(substring(error::text, '"reason" ?: ?"([^"]*)"'), ''), 80)"""

WAITING = "due_at IS NOT NULL AND leased_until IS NULL AND claim >= 0"
DEFERRED = "due_at > created_at AND leased_until IS NULL"
STUCK = {
    "job": "state IN ('dead')",
    "email": "state IN ('failed', 'expired', 'uncertain', 'suppressed') AND due_at IS NULL",
}
RECONCILED = "kind = 'reconcile_seats' AND state = 'succeeded'"
TROUBLED = "trouble IS NOT NULL AND put_away_at IS NULL"


def upgrade() -> None:
    # Where the tables are large, these are made beforehand, CONCURRENTLY (docs/operations.md); then they are there.
    for table, stuck in STUCK.items():
        _index(table, "due", "queue, due_at", WAITING)
        _index(table, "deferred", f"queue, {CLASS}, {REASON}, created_at, id", DEFERRED)
        _index(table, "stuck", f"state, queue, {CLASS}, {REASON}, finished_at, id", stuck)
    _index("job", "reconciled", "finished_at", RECONCILED)
    _index("inbox_file", "trouble", "inbox_id", TROUBLED)


def _index(table: str, name: str, columns: str, condition: str) -> None:
    # One whose making CONCURRENTLY was broken off serves nobody, and would count as there.
    op.execute(
        f"""
        DO $$ BEGIN
          IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('ix_{table}_{name}') AND NOT indisvalid) THEN
            DROP INDEX ix_{table}_{name};
          END IF;
        END $$"""
    )
    op.execute(f"CREATE INDEX IF NOT EXISTS ix_{table}_{name} ON {table} ({columns}) WHERE {condition}")


def downgrade() -> None:
    op.drop_index("ix_inbox_file_trouble", table_name="inbox_file")
    op.drop_index("ix_job_reconciled", table_name="job")
    for table in STUCK:
        for name in ("stuck", "deferred", "due"):
            op.drop_index(f"ix_{table}_{name}", table_name=table)
