"""portals are told of events: endpoints, webhooks owed to them, attempts, and a sequence per resource."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

HOT = {"postgresql_with": {"fillfactor": 80, "autovacuum_vacuum_scale_factor": 0.02}}
WAITING = sa.text("due_at IS NOT NULL AND leased_until IS NULL")
RUNNING = sa.text("leased_until IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("master_id", sa.String(), nullable=False),
        sa.Column("secret_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.String(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["portal_id"], ["portal.id"], name=op.f("fk_webhook_endpoint_portal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
        sa.UniqueConstraint("portal_id", "reference", name=op.f("uq_webhook_endpoint_portal_id_reference")),
        **HOT,
    )
    op.create_table(
        "webhook",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("lane", sa.Uuid(), nullable=False),
        sa.Column("claim", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rescues", sa.Integer(), server_default="0", nullable=False),
        sa.Column("postponements", sa.Integer(), server_default="0", nullable=False),
        sa.Column("postponed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('owed', 'held', 'delivered', 'failed')", name=op.f("ck_webhook_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
        **HOT,
    )
    op.create_index("ix_webhook_waiting", "webhook", ["endpoint_id", "lane", "sequence"], postgresql_where=WAITING)
    op.create_index("ix_webhook_due", "webhook", ["queue", "due_at"], postgresql_where=WAITING)
    op.create_index("ix_webhook_running", "webhook", ["endpoint_id", "lane"], postgresql_where=RUNNING)
    op.create_index("ix_webhook_held", "webhook", ["endpoint_id", "id"], postgresql_where=sa.text("state = 'held'"))
    op.create_index("ix_webhook_endpoint_id", "webhook", ["endpoint_id", "id"])
    op.create_table(
        "webhook_attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempt")),
    )
    op.create_index(op.f("ix_webhook_attempt_webhook_id"), "webhook_attempt", ["webhook_id"])
    op.create_table(
        "resource_sequence",
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("portal_id", "resource", name=op.f("pk_resource_sequence")),
        **HOT,
    )
    # A portal that sent a message on a queue knows its job by its key alone, so webhooks name the key.
    op.create_index(op.f("ix_idempotency_job_id"), "idempotency", ["job_id"], if_not_exists=True)


def downgrade() -> None:
    op.drop_index(op.f("ix_idempotency_job_id"), table_name="idempotency")
    op.drop_table("resource_sequence")
    op.drop_table("webhook_attempt")
    op.drop_table("webhook")
    op.drop_table("webhook_endpoint")
