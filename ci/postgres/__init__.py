"""PostgreSQL's programs: client tools, servers of our own, definitions as `pg_dump` prints them."""
