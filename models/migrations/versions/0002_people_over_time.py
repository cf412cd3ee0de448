"""progress, throttles, sign-ins, links asked for again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "throttle",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_throttle")),
    )
    op.create_index("ix_throttle_subject", "throttle", ["scope", "subject", "at"], unique=False)
    op.create_table(
        "sign_in",
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_in")),
    )
    op.create_index(op.f("ix_audit_job_id"), "audit", ["job_id"], unique=False)
    op.add_column("enrollment", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("enrollment", sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("enrollment", sa.Column("progress_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("enrollment", sa.Column("score", sa.Float(), nullable=True))
    op.add_column("enrollment", sa.Column("scored_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("enrollment", sa.Column("time_spent_seconds", sa.Integer(), server_default="0", nullable=False))
    op.add_column("job_person", sa.Column("detail", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("link", sa.Column("resent", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("link", "resent")
    op.drop_column("job_person", "detail")
    op.drop_column("enrollment", "time_spent_seconds")
    op.drop_column("enrollment", "scored_at")
    op.drop_column("enrollment", "score")
    op.drop_column("enrollment", "progress_at")
    op.drop_column("enrollment", "completed_at")
    op.drop_column("enrollment", "started_at")
    op.drop_index(op.f("ix_audit_job_id"), table_name="audit")
    op.drop_index("ix_throttle_subject", table_name="throttle")
    op.drop_table("throttle")
    op.drop_table("sign_in")
