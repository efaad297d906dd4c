"""What the live database is right now: identity, history, and a fingerprint of its schema."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import psycopg

from ..database import fingerprint, leftovers
from ..database.address import address_of
from ..database.connection import Database, read_target
from ..engines import History
from ..errors import WindlassError
from ..lint.severity import graded
from ..model import (
    Applied,
    Facts,
    Failed,
    Finding,
    Migration,
    Partial,
    Plan,
    Rehearsal,
    TableSize,
)
from .work import Work

# A partitioned table has no rows of its own: those of its partitions count.
SIZES = """
    select pg_catalog.format('%%I.%%I', n.nspname, c.relname),
           coalesce((select pg_catalog.sum(greatest(p.reltuples, 0))::bigint
                     from pg_catalog.pg_partition_tree(c.oid) t
                     join pg_catalog.pg_class p on p.oid = t.relid
                     where t.isleaf and c.relkind = 'p'), c.reltuples::bigint),
           coalesce((select pg_catalog.sum(pg_catalog.pg_total_relation_size(t.relid))::bigint
                     from pg_catalog.pg_partition_tree(c.oid) t where c.relkind = 'p'),
                    pg_catalog.pg_total_relation_size(c.oid))
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = any (%s) and c.relkind in ('r', 'p', 'm')
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'windlass')
    order by 1
"""
LONGEST = 200  # characters of a line of the schema that a plan keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What is recorded of migrations: applied, cut off half way, and failed."""

    applied: tuple[Applied, ...]
    partials: tuple[Partial, ...]
    failed: tuple[Failed, ...]


def take_history(database: Database, history: History) -> Recorded:
    """Return what is recorded, of one moment, and nothing of the schema. Read-only."""

    def read(connection: psycopg.Connection) -> Recorded:
        return Recorded(
            applied=history.rows(connection),
            partials=history.partials(connection),
            failed=history.failed(connection),
        )

    return database.read("history", read)


def take_facts(database: Database, history: History) -> Facts:
    """Return the facts of one moment, the schema's fingerprint among them. Read-only.

    The fingerprint reads every definition. Where the history is enough, use `take_history`.
    """

    def read(connection: psycopg.Connection) -> Facts:
        lines = fingerprint.read_lines(connection, history.tables)
        return Facts(
            target=msgspec.structs.replace(
                read_target(connection), address=address_of(configured(connection))
            ),
            history=history.rows(connection),
            partials=history.partials(connection),
            failed=history.failed(connection),
            leftovers=leftovers.read_leftovers(connection),
            schema_fingerprint=fingerprint.of(lines),
            schema=tuple(_short(line) for line in lines),
        )

    return database.read("facts", read)


def configured(connection: psycopg.Connection) -> dict[str, str]:
    """Return what libpq was told to connect to: by the URL, a service file or PG variables."""
    return {
        option.keyword.decode(): option.val.decode()
        for option in connection.pgconn.info
        if option.val is not None and option.keyword in (b"host", b"hostaddr", b"port", b"dbname")
    }


def _short(line: str) -> str:
    """Return a line for people; of a long one, such as a function, its beginning and its hash."""
    if len(line) <= LONGEST:
        return line
    digest = hashlib.sha256(line.encode()).hexdigest()[:12]
    return f"{' '.join(line[:LONGEST].split())}… ({digest})"


def read_sizes(connection: psycopg.Connection, names: Iterable[str]) -> tuple[TableSize, ...]:
    """Return the sizes of the tables of these names, whatever their schema, by name."""
    tables = connection.execute(SIZES.encode(), [sorted(names)]).fetchall()
    return tuple(TableSize(name=name, rows=rows, size=size) for name, rows, size in tables)


def sizes_of_tables(migrations: tuple[Migration, ...], work: Work) -> tuple[TableSize, ...]:
    """Return the sizes of the tables that migrations name and that exist."""
    names = frozenset[str]().union(
        *(work.engine.files.tables(migration) for migration in migrations)
    )
    return work.database.read("plan", lambda connection: read_sizes(connection, names))


def lint_findings(plan: Plan, work: Work, rehearsal: Rehearsal | None) -> tuple[Finding, ...]:
    """Return what is dangerous in a plan's migrations, graded, the gravest first."""

    def look(connection: psycopg.Connection) -> tuple[Finding, ...]:
        return work.engine.files.lint(plan.migrations, connection)

    return graded(work.database.read("lint", look), rehearsal)


def replaced_facts(work: Work) -> Facts:
    """Return the live database that is replaced, and what it has applied, where that is readable.

    A history that cannot be read may be why it is replaced.
    """
    target = work.database.read("restore", read_target)
    history: tuple[Applied, ...] = ()
    try:
        history = work.database.read("restore", work.engine.history.rows)
    except (WindlassError, psycopg.Error) as error:
        work.reporter.note(f"the history of the live database cannot be read: {error}")
    return Facts(target=target, history=history, schema_fingerprint="")
