"""a rendering is of a duplicate: nothing else was ever rendered."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UNIQUE = "uq_rendering_certificate_id_bytes"
BYTES = ["certificate_id", "duplicate_id", "document", "locale", "sha256"]


def upgrade() -> None:
    _make_unique_again(postgresql_nulls_not_distinct=False)
    op.alter_column("rendering", "duplicate_id", existing_type=sa.Uuid(), nullable=False)


def downgrade() -> None:
    op.alter_column("rendering", "duplicate_id", existing_type=sa.Uuid(), nullable=True)
    _make_unique_again(postgresql_nulls_not_distinct=True)


def _make_unique_again(*, postgresql_nulls_not_distinct: bool) -> None:
    op.drop_constraint(UNIQUE, "rendering", type_="unique")
    op.create_unique_constraint(UNIQUE, "rendering", BYTES, postgresql_nulls_not_distinct=postgresql_nulls_not_distinct)
