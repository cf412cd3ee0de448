"""inboxes expect files; jobs are found by the addresses that were typed in them."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("expected", sa.String(), nullable=True))
    op.add_column("inbox", sa.Column("grace_seconds", sa.Integer(), server_default="3600", nullable=False))
    op.add_column("inbox", sa.Column("expected_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("inbox", sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE inbox i SET arrived_at = (SELECT max(f.seen_at) FROM inbox_file f WHERE f.inbox_id = i.id)")
    op.create_table(
        "job_address",
        sa.Column("token", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("token", "job_id", name="pk_job_address"),
    )


def downgrade() -> None:
    op.drop_table("job_address")
    for column in ("arrived_at", "expected_since", "grace_seconds", "expected"):
        op.drop_column("inbox", column)
