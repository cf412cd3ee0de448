"""participants are found by words, page by page, with the names their own company typed."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("first_name", "last_name", "words"):
        op.add_column("enrollment", sa.Column(column, sa.String(), nullable=True))
    op.create_table(
        "participant_word",
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("word", sa.String(collation="C"), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("contract_id", "word", "enrollment_id", name=op.f("pk_participant_word")),
    )
    # Where the tables are large, these are made beforehand, CONCURRENTLY (docs/operations.md); then they are there.
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_enrollment_page ON enrollment (contract_id, progress, id)"
        " WHERE withdrawn_at IS NULL"
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_enrollment_unsearched ON enrollment (id)"
        " WHERE words IS NULL AND withdrawn_at IS NULL"
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_email_unsent ON email (contract_id, state, enrollment_id)"
        " WHERE state <> 'sent' AND enrollment_id IS NOT NULL"
    )
    op.execute(
        "INSERT INTO schedule (name, cron, kind, request) VALUES "
        "('participant_words', '29 * * * *', 'find_words', '{}')"
    )


def downgrade() -> None:
    op.execute("DELETE FROM schedule WHERE name = 'participant_words'")
    op.drop_index("ix_email_unsent", table_name="email")
    op.drop_index("ix_enrollment_unsearched", table_name="enrollment")
    op.drop_index("ix_enrollment_page", table_name="enrollment")
    op.drop_table("participant_word")
    for column in ("words", "last_name", "first_name"):
        op.drop_column("enrollment", column)
