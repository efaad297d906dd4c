"""Migrations of a Prisma project, with the history in `_prisma_migrations`."""
