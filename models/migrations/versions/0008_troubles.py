"""a process says why it fetches no work, and the clock that its database was ahead."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("process", sa.Column("trouble", sa.String(), nullable=True))
    op.add_column("clock", sa.Column("set_back_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("clock", sa.Column("set_back_seconds", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("clock", "set_back_seconds")
    op.drop_column("clock", "set_back_at")
    op.drop_column("process", "trouble")
