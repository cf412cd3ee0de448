"""corrections of addresses, reminders, release of seats, detached people, suppressed addresses, erasure."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LIVE = "consumed_at IS NULL AND voided_at IS NULL"
PURPOSES = "'activation', 'password_reset'"
ALL_PURPOSES = f"{PURPOSES}, 'correction_confirmation', 'correction_answer', 'not_me'"


def upgrade() -> None:
    op.create_table(
        "email_correction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=True),
        sa.Column("company_id", sa.Uuid(), nullable=True),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("requested_by", sa.String(), server_default="", nullable=False),
        sa.Column("old_email", sa.String(), nullable=False),
        sa.Column("new_email", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ground", sa.String(), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("password_given_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'applied', 'cancelled', 'superseded', 'expired')",
            name=op.f("ck_email_correction_state"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_email_correction_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_correction")),
    )
    op.create_index(op.f("ix_email_correction_account_id"), "email_correction", ["account_id"], unique=False)
    op.create_index(
        "uq_email_correction_pending",
        "email_correction",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "suppression",
        sa.Column("email_norm", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("email_norm", name=op.f("pk_suppression")),
    )
    op.create_table(
        "certificate_holder",
        sa.Column("enrollment_id", sa.Uuid(), nullable=False),
        sa.Column("first_name", sa.String(), nullable=False),
        sa.Column("last_name", sa.String(), nullable=False),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("enrollment_id", name=op.f("pk_certificate_holder")),
    )
    op.add_column("account", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("enrollment", sa.Column("detached_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("enrollment", sa.Column("reminders", sa.Integer(), server_default="0", nullable=False))
    op.add_column("enrollment", sa.Column("next_reminder_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("enrollment", sa.Column("release_warned_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_enrollment_reminder",
        "enrollment",
        ["next_reminder_at"],
        unique=False,
        postgresql_where=sa.text("next_reminder_at IS NOT NULL"),
    )
    op.add_column("contract", sa.Column("manager_email", sa.String(), nullable=True))
    op.add_column("contract", sa.Column("manager_locale", sa.String(), server_default="fr", nullable=False))
    op.add_column("contract", sa.Column("reminders", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("contract", sa.Column("release_after_days", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("ck_contract_release"), "contract", "release_after_days >= 14")
    op.create_index("ix_email_account_id", "email", ["account_id", "enrollment_id"], unique=False)
    op.drop_index(op.f("ix_email_enrollment_id"), table_name="email")
    _links(ALL_PURPOSES, f"{LIVE} AND subject_id IS NULL", add=True)
    op.create_index(
        "uq_link_live_subject",
        "link",
        ["subject_id", "purpose"],
        unique=True,
        postgresql_where=sa.text(f"{LIVE} AND subject_id IS NOT NULL"),
    )
    op.execute(
        "INSERT INTO schedule (name, cron, kind, request) VALUES "
        "('corrections', '*/5 * * * *', 'apply_corrections', '{}'), "
        "('reminders', '7 8-18 * * *', 'send_reminders', '{}'), "
        "('releases', '37 8 * * *', 'plan_releases', '{}')"
    )


def _links(purposes: str, live: str, *, add: bool) -> None:
    op.drop_index("uq_link_live", table_name="link")
    op.drop_constraint(op.f("ck_link_purpose"), "link")
    if add:
        op.add_column("link", sa.Column("subject_id", sa.Uuid(), nullable=True))
    else:
        op.execute("DELETE FROM link WHERE subject_id IS NOT NULL")
        op.drop_column("link", "subject_id")
    op.create_check_constraint(op.f("ck_link_purpose"), "link", f"purpose IN ({purposes})")
    op.create_index("uq_link_live", "link", ["account_id", "purpose"], unique=True, postgresql_where=sa.text(live))


def downgrade() -> None:
    op.execute("DELETE FROM schedule WHERE name IN ('corrections', 'reminders', 'releases')")
    op.drop_index("uq_link_live_subject", table_name="link")
    _links(PURPOSES, LIVE, add=False)
    op.create_index(op.f("ix_email_enrollment_id"), "email", ["enrollment_id"], unique=False)
    op.drop_index("ix_email_account_id", table_name="email")
    op.drop_constraint(op.f("ck_contract_release"), "contract")
    for column in ("release_after_days", "reminders", "manager_locale", "manager_email"):
        op.drop_column("contract", column)
    op.drop_index("ix_enrollment_reminder", table_name="enrollment")
    for column in ("release_warned_at", "next_reminder_at", "reminders", "detached_at"):
        op.drop_column("enrollment", column)
    op.drop_column("account", "erased_at")
    op.drop_table("certificate_holder")
    op.drop_table("suppression")
    op.drop_table("email_correction")
