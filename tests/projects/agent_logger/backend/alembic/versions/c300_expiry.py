"""api keys expire

Revision ID: c300
Revises: a100

"""

import sqlalchemy as sa
from alembic import op

revision = "c300"
down_revision = "a100"
branch_labels = ("keys",)
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "expires_at")
