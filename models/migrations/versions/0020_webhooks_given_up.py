"""the status finds webhooks that were given up."""

from alembic import op
from sqlalchemy import text

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    given_up = text("state = 'failed'")
    op.create_index("ix_webhook_failed", "webhook", ["endpoint_id", "finished_at"], postgresql_where=given_up)


def downgrade() -> None:
    op.drop_index("ix_webhook_failed", table_name="webhook")
