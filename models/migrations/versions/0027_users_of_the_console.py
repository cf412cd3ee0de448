"""operators sign in to the console."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ops_user",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('reader', 'support', 'operator', 'admin')", name="role"),
        sa.PrimaryKeyConstraint("name", name="pk_ops_user"),
    )
    op.create_table(
        "ops_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ops_session"),
        sa.UniqueConstraint("token_hash", name="uq_ops_session_token_hash"),
        sa.ForeignKeyConstraint(["name"], ["ops_user.name"], name="fk_ops_session_name", ondelete="CASCADE"),
    )
    op.create_index("ix_ops_session_name", "ops_session", ["name"])


def downgrade() -> None:
    op.drop_table("ops_session")
    op.drop_table("ops_user")
