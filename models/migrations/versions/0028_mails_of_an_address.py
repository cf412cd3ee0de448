"""operators find the mails to an address, and those of a job."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_email_to": "(to_address text_pattern_ops, id) WHERE finished_at IS NOT NULL AND to_address <> ''",
    "ix_email_of_job": "(job_id, id) WHERE finished_at IS NOT NULL AND job_id IS NOT NULL",
}


def upgrade() -> None:
    # Where the table is large, the indexes are made beforehand (docs/operations.md); then they are there.
    for name, columns in INDEXES.items():
        # An index that CREATE INDEX CONCURRENTLY left invalid is of no use, and IF NOT EXISTS would keep it.
        op.execute(
            f"""
            DO $$ BEGIN
              IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid) THEN
                DROP INDEX {name};
              END IF;
            END $$"""
        )
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON email {columns}")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="email")
