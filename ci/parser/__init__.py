"""SQL text as PostgreSQL's own parser reads it. Pure."""
