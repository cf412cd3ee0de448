"""operators search jobs and the audit trail by indexes in the order of time."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Where the tables are large, these are made beforehand, CONCURRENTLY (docs/operations.md); then they are there.
    _index("ix_job_searched", "job (portal_id, kind, state, created_at, id)")
    _index("ix_enrollment_withdrawn", "enrollment (contract_id) WHERE withdrawn_at IS NOT NULL")
    _index("ix_audit_of_company", "audit (company_id, id)")
    op.execute("DROP INDEX IF EXISTS ix_job_created_at")
    op.execute("DROP INDEX IF EXISTS ix_audit_company_id")


def _index(name: str, on: str) -> None:
    # One whose making CONCURRENTLY was broken off serves nobody, and would count as there.
    op.execute(
        f"""
        DO $$ BEGIN
          IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid) THEN
            DROP INDEX {name};
          END IF;
        END $$"""
    )
    op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {on}")


def downgrade() -> None:
    op.create_index("ix_audit_company_id", "audit", ["company_id"])
    op.create_index("ix_job_created_at", "job", ["created_at"])
    op.drop_index("ix_audit_of_company", table_name="audit")
    op.drop_index("ix_enrollment_withdrawn", table_name="enrollment")
    op.drop_index("ix_job_searched", table_name="job")
