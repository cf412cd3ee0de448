"""an accepted address knows its line, which a duplicate further down names."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("roster_address", sa.Column("line", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("roster_address", "line")
