"""reminders and releases run Monday to Friday, in the daytime."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Name, cron before, cron from here on. A schedule that ops changed keeps its times.
SCHEDULES = (
    ("reminders", "7 8-18 * * *", "7 8-18 * * 1-5"),
    ("releases", "37 8 * * *", "37 8 * * 1-5"),
)


def upgrade() -> None:
    for name, before, after in SCHEDULES:
        _change(name, before, after)
        op.execute(f"UPDATE schedule SET request = '{{\"daytime\": true}}' WHERE name = '{name}'")


# Without a next time the clock works it out and fires nothing for it.
def _change(name: str, old: str, new: str) -> None:
    op.execute(f"UPDATE schedule SET cron = '{new}', next_run_at = NULL WHERE name = '{name}' AND cron = '{old}'")


def downgrade() -> None:
    for name, before, after in SCHEDULES:
        _change(name, after, before)
        op.execute(f"UPDATE schedule SET request = '{{}}' WHERE name = '{name}'")
