"""The to-do backend that the sample `deploy.yml` and `migrations/` belong to; Windlass needs none.

A small HTTP service on PostgreSQL, and the rows to fill its database with.
"""
