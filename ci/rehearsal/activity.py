"""Reads how busy the live server's tables are, from its own counters."""

from datetime import datetime

import psycopg
from psycopg import sql

from ..database.connection import Database
from ..errors import WindlassError
from ..secret import redact
from .busy import Reading

MOST = 500  # statements that are read, the most called first
TABLES = """
with counted as (
    select s.relid,
           coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0)
           + s.n_tup_ins + s.n_tup_upd + s.n_tup_del as traffic,
           coalesce(pg_catalog.pg_partition_root(s.relid), s.relid) as root
    from pg_catalog.pg_stat_user_tables s where s.schemaname <> 'windlass'
), every as (
    select relid, traffic, root from counted
    union all
    select root, traffic, root from counted where root <> relid
)
select pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.sum(e.traffic)::bigint,
       pg_catalog.format('%I.%I', rn.nspname, rc.relname)
from every e
join pg_catalog.pg_class c on c.oid = e.relid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_class rc on rc.oid = e.root
join pg_catalog.pg_namespace rn on rn.oid = rc.relnamespace
group by 1, 3
"""
SINCE = """
select pg_catalog.clock_timestamp(),
       coalesce(stats_reset, pg_catalog.pg_postmaster_start_time())
from pg_catalog.pg_stat_database where datname = pg_catalog.current_database()
"""
# The extension's own view: a namesake would run its owner's functions with our rights.
VIEW = """
select n.nspname, c.relname
from pg_catalog.pg_extension x
join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
     and d.refobjid = x.oid and d.deptype = 'e'
     and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
join pg_catalog.pg_class c on c.oid = d.objid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where x.extname = 'pg_stat_statements'
"""
STATEMENTS = """
select query, pg_catalog.sum(calls)::bigint from {}
where dbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
group by query order by 2 desc limit {}
"""
NOT_INSTALLED = "pg_stat_statements is not installed: calls a minute are not known"


def read_activity(database: Database) -> Reading | str:
    """Return the counters of a live server; in words why they cannot be read."""
    try:
        return database.read("rehearse", _read)
    except (psycopg.Error, WindlassError) as error:
        return redact(f"the live server's counters could not be read: {error}".splitlines()[0])


def _read(connection: psycopg.Connection) -> Reading:
    rows = connection.execute(TABLES).fetchall()
    moment = connection.execute(SINCE).fetchone()
    assert moment is not None  # noqa: S101  # the database that we are in
    calls, since, unseen = _statements(connection)
    return Reading(
        at=moment[0],
        tables={name: count for name, count, _ in rows},
        roots={name: root for name, _, root in rows if root != name},
        statements=calls,
        tables_since=moment[1],
        statements_since=since,
        unseen=unseen,
    )


def _statements(
    connection: psycopg.Connection,
) -> tuple[dict[str, int] | None, datetime | None, str]:
    """Return how often each statement was called, since when, and why that is not known."""
    views = {name: schema for schema, name in connection.execute(VIEW).fetchall()}
    name = "pg_stat_statements"
    if name not in views:
        return None, None, NOT_INSTALLED
    try:
        with connection.transaction():
            query = sql.SQL(STATEMENTS).format(sql.Identifier(views[name], name), sql.Literal(MOST))
            calls: dict[str, int] = dict(connection.execute(query).fetchall())
            since = None
            if f"{name}_info" in views:  # since 14
                info = sql.Identifier(views[f"{name}_info"], f"{name}_info")
                row = connection.execute(
                    sql.SQL("select stats_reset from {}").format(info)
                ).fetchone()
                since = row[0] if row else None
    except psycopg.Error as error:  # not preloaded, or not ours to read
        reason = redact(str(error).splitlines()[0])
        return None, None, f"{name}: {reason}: calls a minute are not known"
    return calls, since, ""
