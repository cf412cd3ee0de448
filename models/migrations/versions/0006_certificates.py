"""certificates, their duplicates, and who signs them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "certificate_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_file")),
        sa.UniqueConstraint("job_id", name=op.f("uq_certificate_file_job_id")),
    )
    op.create_table(
        "logo",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_logo")),
    )
    op.create_table(
        "organisation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("legal_name", sa.String(), nullable=False),
        sa.Column("address", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("siret", sa.String(), nullable=True),
        sa.Column("activity_number", sa.String(), nullable=True),
        sa.Column("activity_region", sa.String(), nullable=True),
        sa.Column("signatory_name", sa.String(), nullable=False),
        sa.Column("signatory_quality", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("colour", sa.String(), nullable=True),
        sa.Column("logo", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
        sa.UniqueConstraint("reference", name=op.f("uq_organisation_reference")),
    )
    op.create_table(
        "certificate_counter",
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_certificate_counter_organisation_id")
        ),
        sa.PrimaryKeyConstraint("organisation_id", "year", name=op.f("pk_certificate_counter")),
    )
    op.create_table(
        "certificate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("snapshot", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revocation_reason", sa.String(), nullable=True),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["enrollment_id"], ["enrollment.id"], name=op.f("fk_certificate_enrollment_id")),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"], name=op.f("fk_certificate_organisation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
        sa.UniqueConstraint("code", name=op.f("uq_certificate_code")),
        sa.UniqueConstraint("enrollment_id", "version", name=op.f("uq_certificate_enrollment_id_version")),
        sa.UniqueConstraint("organisation_id", "number", name=op.f("uq_certificate_organisation_id_number")),
    )
    op.create_index(op.f("ix_certificate_number"), "certificate", ["number"], unique=False)
    op.create_index(
        "uq_certificate_current",
        "certificate",
        ["enrollment_id"],
        unique=True,
        postgresql_where=sa.text("replaced_by IS NULL"),
    )
    op.create_table(
        "certificate_duplicate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("locale", sa.String(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificate.id"], name=op.f("fk_certificate_duplicate_certificate_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_duplicate")),
        sa.UniqueConstraint("certificate_id", "ordinal", name=op.f("uq_certificate_duplicate_certificate_id_ordinal")),
        sa.UniqueConstraint("job_id", "position", name=op.f("uq_certificate_duplicate_job_id_position")),
    )
    op.create_table(
        "rendering",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.Column("duplicate_id", sa.Uuid(), nullable=True),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("locale", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("rendered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["certificate_id"], ["certificate.id"], name=op.f("fk_rendering_certificate_id")),
        sa.ForeignKeyConstraint(["duplicate_id"], ["certificate_duplicate.id"], name=op.f("fk_rendering_duplicate_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rendering")),
        sa.UniqueConstraint(
            "certificate_id",
            "duplicate_id",
            "document",
            "locale",
            "sha256",
            name=op.f("uq_rendering_certificate_id_bytes"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index("ix_rendering_duplicate", "rendering", ["duplicate_id"], unique=False)
    op.create_index(op.f("ix_rendering_sha256"), "rendering", ["sha256"], unique=False)
    op.add_column("company", sa.Column("colour", sa.String(), nullable=True))
    op.add_column("company", sa.Column("logo", sa.String(), nullable=True))
    op.add_column("portal", sa.Column("organisation_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_portal_organisation_id"), "portal", "organisation", ["organisation_id"], ["id"])
    op.add_column("training", sa.Column("nature", sa.String(), server_default="training", nullable=False))
    op.add_column("training", sa.Column("objectives", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("training", sa.Column("modality", sa.String(), nullable=True))
    op.add_column("training", sa.Column("planned_minutes", sa.Integer(), nullable=True))
    # Certificates owed before anybody could issue them waited without a due time.
    op.execute("UPDATE job SET due_at = now() WHERE queue = 'certificates' AND state = 'queued' AND due_at IS NULL")
    op.execute(
        "INSERT INTO schedule (name, cron, kind, request) VALUES ('certificates', '13 5 * * *', 'catch_up_certificates', '{}')"
    )
    op.execute(
        "INSERT INTO schedule (name, cron, kind, request) VALUES ('documents', '43 4 * * *', 'purge_documents', '{}')"
    )


def downgrade() -> None:
    op.execute("DELETE FROM schedule WHERE name IN ('certificates', 'documents')")
    op.drop_column("training", "planned_minutes")
    op.drop_column("training", "modality")
    op.drop_column("training", "objectives")
    op.drop_column("training", "nature")
    op.drop_constraint(op.f("fk_portal_organisation_id"), "portal", type_="foreignkey")
    op.drop_column("portal", "organisation_id")
    op.drop_column("company", "logo")
    op.drop_column("company", "colour")
    op.drop_index(op.f("ix_rendering_sha256"), table_name="rendering")
    op.drop_index("ix_rendering_duplicate", table_name="rendering")
    op.drop_table("rendering")
    op.drop_table("certificate_duplicate")
    op.drop_index("uq_certificate_current", table_name="certificate", postgresql_where=sa.text("replaced_by IS NULL"))
    op.drop_index(op.f("ix_certificate_number"), table_name="certificate")
    op.drop_table("certificate")
    op.drop_table("certificate_counter")
    op.drop_table("organisation")
    op.drop_table("logo")
    op.drop_table("certificate_file")
