"""An application whose settings name the database; revisions are compared with the models."""

from alembic import context
from app.config import settings
from app.models import Base
from sqlalchemy import create_engine, pool

target_metadata = Base.metadata

if context.is_offline_mode():
    context.configure(url=settings.database_url, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(settings.database_url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, target_metadata=target_metadata)
        with context.begin_transaction():
            context.run_migrations()
