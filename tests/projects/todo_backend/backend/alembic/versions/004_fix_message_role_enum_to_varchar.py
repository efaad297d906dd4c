"""fix message_role enum to varchar

Revision ID: 004
Revises: 5e990c3ddfe4

"""

from alembic import op
from sqlalchemy import text

revision = "004"
down_revision = "5e990c3ddfe4"
branch_labels = None
depends_on = None

ROLES = "'user', 'assistant', 'system', 'tool'"


def there(query: str) -> bool:
    return op.get_bind().execute(text(f"SELECT EXISTS ({query})")).scalar()


def check_exists() -> bool:
    return there("SELECT FROM pg_constraint WHERE conname = 'check_role_values'")


def upgrade() -> None:
    if there("SELECT FROM pg_type WHERE typname = 'message_role'"):
        print("[INFO] Detected message_role ENUM type - converting to VARCHAR(20)")
        op.execute("ALTER TABLE messages ALTER COLUMN role TYPE VARCHAR(20) USING role::text")
        op.execute("DROP TYPE message_role")
    else:
        print("[INFO] No message_role ENUM detected - column is already VARCHAR(20)")
    if not check_exists():
        op.create_check_constraint("check_role_values", "messages", f"role IN ({ROLES})")


def downgrade() -> None:
    op.execute(f"CREATE TYPE message_role AS ENUM ({ROLES})")
    if check_exists():
        op.drop_constraint("check_role_values", "messages")
    op.execute(
        "ALTER TABLE messages ALTER COLUMN role TYPE message_role USING role::message_role"
    )
