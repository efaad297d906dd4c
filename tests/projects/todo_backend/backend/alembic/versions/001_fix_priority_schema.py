"""fix the schema of priority

Revision ID: 001_fix_priority_schema
Revises: 000

"""

from alembic import op

revision = "001_fix_priority_schema"
down_revision = "000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE tasks SET priority = 'medium' WHERE priority IS NULL")
    op.alter_column("tasks", "priority", nullable=False, server_default="medium")


def downgrade() -> None:
    op.alter_column("tasks", "priority", nullable=True, server_default=None)
