"""corrections of names; where people reach a training; certificates that cannot be printed."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

EARLIER_PURPOSES = "'activation', 'password_reset', 'correction_confirmation', 'correction_answer', 'not_me'"
PURPOSES = f"{EARLIER_PURPOSES}, 'name_confirmation'"


def upgrade() -> None:
    op.create_table(
        "name_correction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=True),
        sa.Column("company_id", sa.Uuid(), nullable=True),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("requested_by", sa.String(), server_default="", nullable=False),
        sa.Column("old_first_name", sa.String(), nullable=False),
        sa.Column("old_last_name", sa.String(), nullable=False),
        sa.Column("new_first_name", sa.String(), nullable=False),
        sa.Column("new_last_name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ground", sa.String(), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'applied', 'cancelled', 'superseded', 'expired')",
            name=op.f("ck_name_correction_state"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_name_correction_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_name_correction")),
    )
    op.create_index(op.f("ix_name_correction_account_id"), "name_correction", ["account_id"], unique=False)
    op.create_index(
        "uq_name_correction_pending",
        "name_correction",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("state = 'pending'"),
    )
    _purposes(PURPOSES)
    op.add_column("training", sa.Column("access_url", sa.String(), nullable=True))
    op.add_column("portal", sa.Column("access_url", sa.String(), nullable=True))
    op.add_column("enrollment", sa.Column("certificate_held", sa.String(), nullable=True))
    op.create_index(
        "ix_enrollment_held",
        "enrollment",
        ["certificate_held"],
        unique=False,
        postgresql_where=sa.text("certificate_held IS NOT NULL"),
    )


def _purposes(purposes: str) -> None:
    op.drop_constraint(op.f("ck_link_purpose"), "link")
    op.create_check_constraint(op.f("ck_link_purpose"), "link", f"purpose IN ({purposes})")


def downgrade() -> None:
    op.drop_index("ix_enrollment_held", table_name="enrollment")
    op.drop_column("enrollment", "certificate_held")
    op.drop_column("portal", "access_url")
    op.drop_column("training", "access_url")
    op.execute("DELETE FROM link WHERE purpose = 'name_confirmation'")
    _purposes(EARLIER_PURPOSES)
    op.drop_table("name_correction")
