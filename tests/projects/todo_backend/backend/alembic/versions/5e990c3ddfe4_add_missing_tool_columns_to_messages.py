"""add missing tool columns to messages

Revision ID: 5e990c3ddfe4
Revises: 001_fix_priority_schema

"""

import sqlalchemy as sa
from alembic import op

revision = "5e990c3ddfe4"
down_revision = "001_fix_priority_schema"
branch_labels = None
depends_on = None


def column_exists(name: str) -> bool:
    columns = sa.inspect(op.get_bind()).get_columns("messages")
    return any(column["name"] == name for column in columns)


def upgrade() -> None:
    for name in ("tool_call_id", "name"):
        if column_exists(name):
            print(f"Column '{name}' already exists in messages table - skipping")
        else:
            op.add_column("messages", sa.Column(name, sa.String(100), nullable=True))
            print(f"Added column '{name}' to messages table")


def downgrade() -> None:
    for name in ("name", "tool_call_id"):
        if column_exists(name):
            op.drop_column("messages", name)
