"""an operator lets a process take nothing new."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("process", sa.Column("drain_asked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("process", sa.Column("drain_by", sa.String(), nullable=True))
    op.add_column("process", sa.Column("drain_reason", sa.String(), nullable=True))
    op.add_column("process", sa.Column("drain_stop", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("process", sa.Column("drained_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in ("drained_at", "drain_stop", "drain_reason", "drain_by", "drain_asked_at"):
        op.drop_column("process", name)
