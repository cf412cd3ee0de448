"""webhooks that are due are found by their endpoint and their time."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An index that CREATE INDEX CONCURRENTLY left invalid is of no use, and IF NOT EXISTS would keep it.
    op.execute(
        """
        DO $$ BEGIN
          IF EXISTS (SELECT FROM pg_index
            WHERE indexrelid = to_regclass('ix_webhook_due_of_endpoint') AND NOT indisvalid) THEN
            DROP INDEX ix_webhook_due_of_endpoint;
          END IF;
        END $$"""
    )
    # Where the table is large, it is made beforehand, CONCURRENTLY (docs/operations.md); then it is there.
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_webhook_due_of_endpoint ON webhook (endpoint_id, due_at)"
        " WHERE due_at IS NOT NULL AND leased_until IS NULL AND claim >= 0"
    )


def downgrade() -> None:
    op.drop_index("ix_webhook_due_of_endpoint", table_name="webhook")
