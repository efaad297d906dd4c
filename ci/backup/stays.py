"""What belongs to a live database and comes along with no restore: a swap leaves it behind."""

import psycopg

# Both are bound to the database that is put aside, under whatever name.
STAYS = """
select 'subscription', s.subname::text from pg_catalog.pg_subscription s
where s.subenabled and s.subdbid = (
    select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
union all
select 'slot', r.slot_name::text from pg_catalog.pg_replication_slots r
where r.database = pg_catalog.current_database() and not r.temporary
order by 1, 2
"""


def read_stays(connection: psycopg.Connection) -> tuple[tuple[str, str], ...]:
    """Return (subscription or slot, name) of what a swap leaves to the old database."""
    return tuple((str(kind), str(name)) for kind, name in connection.execute(STAYS).fetchall())
