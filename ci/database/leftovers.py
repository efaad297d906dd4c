"""What a deployment must not leave behind: things that look finished, and are not."""

import psycopg

# One line each: the rule, by which a migration may allow it, and what it is.
# inhdetachpending is new in 14, so it is asked for by name at run time.
LEFTOVERS = """
    select pg_catalog.format('invalid-index %s', indexrelid::pg_catalog.regclass)
    from pg_catalog.pg_index where not (indisvalid and indisready)
    union all
    select pg_catalog.format('not-valid-constraint %I on %s', conname,
               case when conrelid <> 0 then conrelid::pg_catalog.regclass::text
                    else contypid::pg_catalog.regtype::text end)
    from pg_catalog.pg_constraint where not convalidated
    union all
    select pg_catalog.format('disabled-trigger %I on %s', tgname, tgrelid::pg_catalog.regclass)
    from pg_catalog.pg_trigger where tgenabled = 'D'
    union all
    select pg_catalog.format('detaching-partition %s of %s', inhrelid::pg_catalog.regclass,
               inhparent::pg_catalog.regclass)
    from pg_catalog.pg_inherits i
    where (pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::bool
"""

# What to do about each rule; the name of the thing is put in.
REPAIRS = {
    "invalid-index": "reindex index concurrently {name}",
    "not-valid-constraint": "alter table … validate constraint {name}",
    "disabled-trigger": "alter table … enable trigger {name}",
    "detaching-partition": "alter table … detach partition {name} finalize",
}


def read_leftovers(connection: psycopg.Connection) -> tuple[str, ...]:
    """Return every leftover in the database, sorted; in a transaction of the caller's."""
    connection.execute("set local search_path = ''")
    return tuple(sorted(row[0] for row in connection.execute(LEFTOVERS.encode()).fetchall()))


def rule(leftover: str) -> str:
    """Return the rule that a leftover breaks."""
    return leftover.split(" ", 1)[0]


def repair(leftover: str) -> str:
    """Return the statement that finishes it."""
    return REPAIRS[rule(leftover)].format(name=leftover.split(" ")[1])
