"""tasks and messages

Revision ID: 000
Revises:

"""

import sqlalchemy as sa
from alembic import op

revision = "000"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("priority", sa.String(10)),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("conversation_id", sa.Integer(), nullable=False),
        sa.Column(
            "role",
            sa.Enum("user", "assistant", "system", "tool", name="message_role"),
            nullable=False,
        ),
        sa.Column("content", sa.Text()),
    )


def downgrade() -> None:
    op.drop_table("messages")
    op.drop_table("tasks")
    op.execute("DROP TYPE message_role")
