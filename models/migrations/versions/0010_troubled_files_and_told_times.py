"""a file of an inbox tells why its last step failed; an enrollment, when its total time was told."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox_file", sa.Column("trouble", sa.String(), nullable=True))
    op.add_column("enrollment", sa.Column("timed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("enrollment", "timed_at")
    op.drop_column("inbox_file", "trouble")
