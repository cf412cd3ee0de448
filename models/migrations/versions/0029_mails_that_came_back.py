"""a mail that was sent may bounce, or be called spam by its recipient."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

BEFORE = ("owed", "sending", "sent", "uncertain", "failed", "suppressed", "expired", "cancelled")
ADDED = ("bounced", "complained")


def upgrade() -> None:
    # Where the table is large, the column is added beforehand (docs/operations.md); then it is there.
    op.execute("ALTER TABLE email ADD COLUMN IF NOT EXISTS returned_at timestamptz")
    _allow((*BEFORE, *ADDED))


def downgrade() -> None:
    # An older release knows neither word. The mails were sent.
    op.execute(f"UPDATE email SET state = 'sent', error = NULL WHERE state IN {ADDED}")
    _allow(BEFORE)
    op.drop_column("email", "returned_at")


def _allow(states: tuple[str, ...]) -> None:
    """Replaces the check without reading the table: the new words are added to those of every row."""
    op.drop_constraint(op.f("ck_email_state"), "email", type_="check")
    listed = ", ".join(f"'{state}'" for state in states)
    op.execute(f"ALTER TABLE email ADD CONSTRAINT ck_email_state CHECK (state IN ({listed})) NOT VALID")
    op.execute("ALTER TABLE email VALIDATE CONSTRAINT ck_email_state")
