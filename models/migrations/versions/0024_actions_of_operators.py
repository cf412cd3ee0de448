"""operators act on many rows at once, and dismiss what gave up."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# As models/job.py has them today: PostgreSQL uses an index of an expression only for the same expression.
CLASS = """left(coalesce(substring(error::text, '"class" ?: ?"([^"]*)"'), ''), 80)"""
REASON = """left(coalesce(substring(error::text, '"reason" ?: ?"([^"]*)"'), ''), 80)"""

STUCK = {
    "job": "state IN ('dead')",
    "email": "state IN ('failed', 'expired', 'uncertain', 'suppressed') AND due_at IS NULL",
}
INDEXES = {  # the new name, the name it takes the place of, the columns, a further condition
    "gave_up": ("stuck", f"state, queue, {CLASS}, {REASON}, finished_at, id", ""),
    "of_trouble": ("trouble", "trouble, queue, kind, finished_at, id", " AND trouble IS NOT NULL"),
}


def upgrade() -> None:
    # Where the tables are large, columns and indexes are made beforehand (docs/operations.md); then they are there.
    for table, stuck in STUCK.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS dismissed_at timestamptz")
        for name, (old, columns, further) in INDEXES.items():
            _index(table, name, columns, f"{stuck} AND dismissed_at IS NULL{further}")
            op.drop_index(f"ix_{table}_{old}", table_name=table)
    _actions()
    _rows()


def _actions() -> None:
    op.create_table(
        "ops_action",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("chosen_by", sa.JSON(), nullable=True),
        sa.Column("undoes", sa.Uuid(), nullable=True),
        sa.Column("undone_by", sa.Uuid(), nullable=True),
        sa.Column("expected", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default="0", nullable=False)
            for name in ("done", "skipped", "failed", "canary")
        ),
        sa.Column("rate", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=True)
            for name in ("confirmed_at", "due_at", "finished_at")
        ),
        sa.CheckConstraint("verb IN ('retry', 'dismiss', 'cancel', 'undo')", name="verb"),
        sa.PrimaryKeyConstraint("id", name="pk_ops_action"),
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_ops_action_due_at", "ops_action", ["due_at"], postgresql_where=due)


def _rows() -> None:
    op.create_table(
        "ops_action_row",
        sa.Column("action_id", sa.Uuid(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.Column("ledger", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dismissed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("acted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("action_id", "row_id", name="pk_ops_action_row"),
    )
    left = sa.text("outcome IS NULL")
    op.create_index("ix_ops_action_row_left", "ops_action_row", ["action_id", "row_id"], postgresql_where=left)


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
    op.drop_table("ops_action_row")
    op.drop_table("ops_action")
    for table, stuck in STUCK.items():
        for name, (old, columns, further) in INDEXES.items():
            op.drop_index(f"ix_{table}_{name}", table_name=table)
            _index(table, old, columns, stuck + further)
        op.drop_column(table, "dismissed_at")
