"""An index that finds the oldest job of each destination."""

from alembic import op

revision = "0003"
down_revision = "0002"

_NAME = "ix_jobs_state_kind_destination_due_at"


def upgrade() -> None:
    op.create_index(_NAME, "jobs", ["state", "kind", "destination", "due_at"])


def downgrade() -> None:
    op.drop_index(_NAME, "jobs")
