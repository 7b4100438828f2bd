"""What is shared with somebody is found without reading every grant"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_grants_principal", "grants", ["principal", "kind"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_grants_principal", table_name="grants")
