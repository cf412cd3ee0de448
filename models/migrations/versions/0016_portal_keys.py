"""portals call the HTTP API, and sign what they put on a queue, with keys of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "portal_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("companies", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("master_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["portal_id"], ["portal.id"], name=op.f("fk_portal_key_portal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_key")),
        sa.UniqueConstraint("hash", name=op.f("uq_portal_key_hash")),
        sa.UniqueConstraint("key_id", name=op.f("uq_portal_key_key_id")),
    )
    op.create_index(op.f("ix_portal_key_portal_id"), "portal_key", ["portal_id"])
    op.add_column("portal", sa.Column("requests_per_minute", sa.Integer(), server_default="6000", nullable=True))
    op.add_column("portal", sa.Column("contact", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("portal", "contact")
    op.drop_column("portal", "requests_per_minute")
    op.drop_table("portal_key")
