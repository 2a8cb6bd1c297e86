"""An index for each list by state."""

from alembic import op

revision = "0004"
down_revision = "0003"

INDEXES = {
    "ix_orders_status_id": ("orders", ["status", "id"]),
    "ix_deliveries_status_id": ("deliveries", ["status", "id"]),
    "ix_deliveries_webhook_id_status_id": ("deliveries", ["webhook_id", "status", "id"]),
}


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
