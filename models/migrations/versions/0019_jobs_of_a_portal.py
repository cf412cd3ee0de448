"""a portal lists its jobs, the latest first."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Where the table is large, it is made beforehand, CONCURRENTLY (docs/operations.md); then it is there.
    op.execute(sa.text("CREATE INDEX IF NOT EXISTS ix_job_portal_id ON job (portal_id, id)"))


def downgrade() -> None:
    op.drop_index("ix_job_portal_id", table_name="job")
