"""add user full_name column

Revision ID: b200
Revises: a100

"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text

revision = "b200"
down_revision = "a100"
branch_labels = ("names",)
depends_on = None


def upgrade() -> None:
    # Schema changes
    op.add_column("users", sa.Column("full_name", sa.String(201), nullable=True))

    # Data migration
    connection = op.get_bind()
    connection.execute(text("UPDATE users SET full_name = first_name || ' ' || last_name"))


def downgrade() -> None:
    op.drop_column("users", "full_name")
