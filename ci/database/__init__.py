"""A PostgreSQL database as Windlass uses it: connections, locks, waiting, its own tables."""
