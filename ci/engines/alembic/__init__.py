"""Migrations of an Alembic project, each run by the project's own Python."""
