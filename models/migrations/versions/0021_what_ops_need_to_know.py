"""operators see counts over time, the trouble of failures, the circuit of the relay; one snapshot for all readers."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

STUCK = {
    "job": "state IN ('dead')",
    "email": "state IN ('failed', 'expired', 'uncertain', 'suppressed') AND due_at IS NULL",
}

KEY = ("queue", "kind", "state")
MEASURES = ("rows", "wait_ms", "run_ms", "took_ms")


def upgrade() -> None:
    for table, stuck in STUCK.items():
        op.add_column(table, sa.Column("trouble", sa.Text(), nullable=True))
        _index(table, "trouble", "trouble, queue, kind, finished_at, id", f"{stuck} AND trouble IS NOT NULL")
        # Where the table is large, it is made beforehand, CONCURRENTLY (docs/operations.md); then it is there.
        _index(table, "finished_at", "finished_at", "finished_at IS NOT NULL AND claim >= 0")
    op.add_column("process", sa.Column("circuit_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("process", sa.Column("circuit_reason", sa.String(), nullable=True))
    _counts("ledger_minute", ("minute",), MEASURES, ("waited", "took"))
    _counts("ledger_hour", ("hour",), MEASURES, ("waited", "took"))
    _counts("ledger_total", (), ("rows", "took_ms"), ("took",))
    op.create_table(
        "ledger_depth",
        sa.Column("ledger", sa.String(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default="0", nullable=False)
            for name in ("waiting", "oldest_seconds", "arrived")
        ),
        sa.PrimaryKeyConstraint("ledger", "minute", "queue", name="pk_ledger_depth"),
    )
    op.create_table(
        "release_run",
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("release", name="pk_release_run"),
    )
    op.create_table(
        "status_snapshot",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("form", sa.String(), nullable=False),
        sa.Column("facts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_status_snapshot"),
    )


def _counts(table: str, moments: tuple[str, ...], measures: tuple[str, ...], bands: tuple[str, ...]) -> None:
    op.create_table(
        table,
        sa.Column("ledger", sa.String(), nullable=False),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in moments),
        *(sa.Column(name, sa.String(), nullable=False) for name in KEY),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in measures),
        *(sa.Column(name, sa.ARRAY(sa.BigInteger()), nullable=False) for name in bands),
        sa.PrimaryKeyConstraint("ledger", *moments, *KEY, name=f"pk_{table}"),
    )


def _index(table: str, name: str, columns: str, condition: str) -> None:
    # An index that CREATE INDEX CONCURRENTLY left invalid is of no use, and IF NOT EXISTS would keep it.
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
    for table in ("status_snapshot", "release_run", "ledger_depth", "ledger_total", "ledger_hour", "ledger_minute"):
        op.drop_table(table)
    op.drop_column("process", "circuit_reason")
    op.drop_column("process", "circuit_until")
    for table in STUCK:
        op.drop_index(f"ix_{table}_finished_at", table_name=table)
        op.drop_index(f"ix_{table}_trouble", table_name=table)
        op.drop_column(table, "trouble")
