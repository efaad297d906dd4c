"""Migrations in plain SQL files, with the history in `schema_migrations`."""
