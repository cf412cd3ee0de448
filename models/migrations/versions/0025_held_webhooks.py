"""webhooks that are held for a disabled endpoint are found without reading all it was ever told."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_webhook_held", "webhook", ["endpoint_id", "id"], postgresql_where=sa.text("state = 'held'"))


def downgrade() -> None:
    op.drop_index("ix_webhook_held", table_name="webhook")
