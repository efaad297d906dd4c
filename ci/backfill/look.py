"""What a backfill reads of the server: its table's keys, and who would be left behind."""

import psycopg

from ..parser.backfill import Split
from ..parser.ranges import KeyColumn, quoted
from .keys import IndexColumn, TableFacts, UniqueIndex, Unsuitable
from .pausing import Surroundings, wal_behind

# The search_path is the migration's here: the name is looked up as the statement's would be.
FIND = "select pg_catalog.to_regclass(%s)::pg_catalog.oid"
TABLE = """
    select pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.relkind::pg_catalog.text,
           c.relkind = 'r' and exists (select from pg_catalog.pg_inherits i
                                       where i.inhparent = c.oid),
           (select coalesce(pg_catalog.sum(greatest(leaf.reltuples, 0)), 0)::pg_catalog.int8
            from pg_catalog.pg_class leaf
            where leaf.oid = c.oid and c.relkind <> 'p' or leaf.oid in (
                select t.relid from pg_catalog.pg_partition_tree(c.oid) t where t.isleaf))
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid = %s
"""
INDEXES = """
    select x.relname::pg_catalog.text, i.indisprimary,
           i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null,
           pg_catalog.array_agg(a.attname::pg_catalog.text order by k.place),
           pg_catalog.array_agg(case when s.nspname = 'pg_catalog' then t.typname::pg_catalog.text
                                else s.nspname || '.' || t.typname end order by k.place),
           pg_catalog.array_agg(a.attnotnull order by k.place)
    from pg_catalog.pg_index i
    join pg_catalog.pg_class x on x.oid = i.indexrelid
    cross join lateral pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality
        as k (number, place)
    left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    left join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_namespace s on s.oid = t.typnamespace
    where i.indrelid = %s and i.indisunique and k.place <= i.indnkeyatts
    group by 1, 2, 3
"""
AGGREGATES = """
    select distinct proname::pg_catalog.text from pg_catalog.pg_proc
    where proname = any (%s::pg_catalog.name[]) and prokind in ('a', 'w')
"""
# Of standbys and other receivers; of which our role may not see, nothing.
REPLICAS = """
    select coalesce(application_name, ''),
           coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn), 0)
               ::pg_catalog.int8,
           coalesce(extract(epoch from replay_lag), 0)::pg_catalog.float8
    from pg_catalog.pg_stat_replication where state = 'streaming' order by 2 desc
"""
ARCHIVE = """
    select pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()),
           coalesce(last_archived_wal, ''),
           pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))
    from pg_catalog.pg_stat_archiver
    where pg_catalog.current_setting('archive_mode') <> 'off'
"""
VACUUM = """
    select p.relid::pg_catalog.regclass::pg_catalog.text
    from pg_catalog.pg_stat_progress_vacuum p join pg_catalog.pg_stat_activity a using (pid)
    where a.query like 'autovacuum:%%(to prevent wraparound)%%'
      and p.datname = pg_catalog.current_database() and (
          p.relid = pg_catalog.to_regclass(%s) or p.relid in (
              select t.relid from pg_catalog.pg_partition_tree(pg_catalog.to_regclass(%s)) t))
    limit 1
"""


def table(connection: psycopg.Connection, split: Split) -> tuple[TableFacts, int]:
    """Return what the catalog says of the table of a statement, and about how many rows it has.

    In a transaction of the caller's, with the search_path of the migration.

    Raises:
        Unsuitable: there is no such table.

    """
    name = f"{quoted(split.schema)}." if split.schema else ""
    name += quoted(split.table)
    oid = connection.execute(FIND, (name,)).fetchone()
    row = connection.execute(TABLE, oid).fetchone() if oid and oid[0] is not None else None
    if row is None:
        raise Unsuitable(f"there is no table {split.table}")
    indexes = tuple(
        UniqueIndex(
            name=index[0],
            primary=index[1],
            whole=index[2],
            columns=tuple(
                IndexColumn(name=column or "", type=type_ or "", not_null=bool(not_null))
                for column, type_, not_null in zip(*index[3:], strict=True)
            ),
        )
        for index in connection.execute(INDEXES, oid).fetchall()
    )
    named = connection.execute(AGGREGATES, (sorted(split.functions),)).fetchall()
    facts = TableFacts(
        name=row[0],
        kind=row[1],
        inherited=row[2],
        indexes=indexes,
        aggregates=frozenset(name[0] for name in named),
    )
    return facts, int(row[3])


def last_key(
    connection: psycopg.Connection, name: str, split: Split, key: tuple[KeyColumn, ...]
) -> tuple[str, ...] | None:
    """Return the largest key of the table; None where it has no row."""
    columns = [f"t.{quoted(column.name)}" for column in key]
    texts = ", ".join(f"{column}::pg_catalog.text" for column in columns)
    order = ", ".join(f"{column} desc" for column in columns)
    only = "only " if split.only else ""
    text = f"select {texts} from {only}{name} t order by {order} limit 1"  # noqa: S608  # quoted
    row = connection.execute(text.encode()).fetchone()
    return tuple(row) if row else None


def surroundings(connection: psycopg.Connection, name: str) -> Surroundings:
    """Return who would be left behind by more batches; our role sees what it may."""
    replica = connection.execute(REPLICAS).fetchone() or ("", 0, 0.0)
    archive = connection.execute(ARCHIVE).fetchone()
    vacuum = connection.execute(VACUUM, (name, name)).fetchone()
    return Surroundings(
        replica=replica[0],
        replica_bytes=int(replica[1]),
        replica_seconds=float(replica[2]),
        archive_bytes=wal_behind(archive[0], archive[1], int(archive[2])) if archive else 0,
        vacuum=vacuum[0] if vacuum else "",
    )
