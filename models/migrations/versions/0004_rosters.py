"""roster files and their imports."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "roster_file",
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("portal_id", "sha256", name=op.f("pk_roster_file")),
    )
    op.create_table(
        "roster_part",
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id", "sha256"],
            ["roster_file.portal_id", "roster_file.sha256"],
            name=op.f("fk_roster_part_portal_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("portal_id", "sha256", "number", name=op.f("pk_roster_part")),
    )
    op.create_table(
        "roster",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("reading", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_roster")),
    )
    op.create_index("ix_roster_fingerprint", "roster", ["portal_id", "fingerprint"], unique=False)
    op.create_table(
        "roster_address",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "address", name=op.f("pk_roster_address")),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("notify", sa.Boolean(), nullable=False),
        sa.Column("report_to", sa.String(), nullable=True),
        sa.Column("report_locale", sa.String(), nullable=False),
        sa.Column("most_changed_percent", sa.Integer(), nullable=True),
        sa.Column("full_sync", sa.Boolean(), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trouble", sa.String(), nullable=True),
        sa.CheckConstraint("most_changed_percent > 0", name=op.f("ck_inbox_most_changed")),
        sa.ForeignKeyConstraint(["portal_id"], ["portal.id"], name=op.f("fk_inbox_portal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("portal_id", "reference", name=op.f("uq_inbox_portal_id_reference")),
    )
    op.create_table(
        "inbox_file",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("dry_run", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("refused", sa.String(), nullable=True),
        sa.Column("put_away_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("inbox_id", "name", "version", name=op.f("pk_inbox_file")),
    )
    op.execute("INSERT INTO schedule (name, cron, kind, request) VALUES ('inboxes', '* * * * *', 'scan_inboxes', '{}')")


def downgrade() -> None:
    op.execute("DELETE FROM schedule WHERE name = 'inboxes'")
    op.drop_table("inbox_file")
    op.drop_table("inbox")
    op.drop_table("roster_address")
    op.drop_index("ix_roster_fingerprint", table_name="roster")
    op.drop_table("roster")
    op.drop_table("roster_part")
    op.drop_table("roster_file")
