"""Windlass's own tables, all of them in the schema `windlass`, and the version they have.

Reading verbs create nothing here: an absent table is an empty history, and an older version is
read as far as its tables go. The runner brings a database up to date under the deployment lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as release_of

import psycopg
from psycopg import errors as pg
from psycopg import sql

from ..errors import Refused
from . import trusted
from .connection import Database
from .errors import asking, one_value
from .retry import Terms, with_retry

PACKAGE = "pgwindlass"

# Two first runs would collide in the catalog, `if not exists` or not: a session that creates
# anything takes this lock first. The same in every release: they must exclude each other.
ONE_AT_A_TIME = "select pg_catalog.pg_advisory_xact_lock(7452012384610)"

# The shape of these two is frozen: any release takes a lease before it holds the deployment lock,
# and reads the version that a newer release wrote.
LEASE = """
    create table if not exists windlass.lease (
        name text primary key,
        token text not null,
        holder text not null,
        address text not null,
        acquired_at timestamptz not null,
        expires_at timestamptz not null
    );
"""
VERSION_TABLE = """
    create table if not exists windlass.version (
        version int primary key,
        release text not null,
        at timestamptz not null default pg_catalog.now()
    );
"""

# What a database has that no version was written to, or a part of that: each table was created when
# it was first needed.
FIRST = (
    LEASE
    + """
    create table if not exists windlass.partial_migration (
        migration_name text primary key,
        direction text not null,
        statements_done int not null,
        done_checksum text not null,
        statements int not null,
        statement_begun int
    );
    create table if not exists windlass.alembic_revision (
        revision text primary key,
        checksum text not null,
        applied_at timestamptz not null default pg_catalog.now()
    );
    create table if not exists windlass.deployment (
        id text primary key,
        started_at timestamptz not null,
        finished_at timestamptz,
        status text not null,
        record jsonb not null,
        plan jsonb not null
    );
    create table if not exists windlass.step (
        deployment_id text not null references windlass.deployment,
        ordinal int not null,
        step text not null,
        undo boolean not null,
        started_at timestamptz not null,
        evidence jsonb not null,
        result jsonb,
        primary key (deployment_id, ordinal)
    );
    create table if not exists windlass.correction (
        id bigint generated always as identity primary key,
        at timestamptz not null,
        record jsonb not null
    );
    create table if not exists windlass.approval (
        nonce text primary key,
        deployment_id text not null,
        approver text not null,
        at timestamptz not null default pg_catalog.now()
    );
"""
)

# What the database is: one row, written at the first deployment above development.
SECOND = """
    create table windlass.identity (
        only_one boolean primary key default true check (only_one),
        project text not null,
        environment text not null,
        tier text not null,
        at timestamptz not null default pg_catalog.now(),
        written_by text not null,
        deployment_id text not null
    );
"""

# What a unit of work intends, so that another run can go on; what it does outside a transaction,
# announced first (`markers`); what happened, as rows chained by hash; and whether all rests.
THIRD = """
    alter table windlass.deployment add column intent jsonb;
    alter table windlass.deployment add column continues text;
    create table windlass.marker (
        id text primary key,
        kind text not null,
        deployment_id text not null,
        at timestamptz not null default pg_catalog.now(),
        detail jsonb not null
    );
    create table windlass.event (
        id bigint generated always as identity primary key,
        at timestamptz not null,
        kind text not null,
        deployment_id text not null,
        record jsonb not null,
        previous text not null,
        hash text not null
    );
    create table windlass.pause (
        only_one boolean primary key default true check (only_one),
        at timestamptz not null default pg_catalog.now(),
        record jsonb not null
    );
"""

# How far each statement is that runs in batches, and the rows of it that could not be changed.
BACKFILLS = """
    create table windlass.backfill (
        migration_name text not null,
        direction text not null,
        statement int not null,
        checksum text not null,
        is_job boolean not null,
        table_name text not null,
        key_columns text[] not null,
        state text not null,
        last_key text[],
        end_key text[],
        rows_expected bigint not null,
        rows_visited bigint not null default 0,
        rows_changed bigint not null default 0,
        rows_set_aside bigint not null default 0,
        batches bigint not null default 0,
        batch_rows int not null,
        seconds float8 not null default 0,
        began_at timestamptz,
        changed_at timestamptz not null,
        asked text not null default '',
        asked_by text not null default '',
        primary key (migration_name, direction, statement)
    );
    create table windlass.backfill_row (
        id bigint generated always as identity primary key,
        migration_name text not null,
        direction text not null,
        statement int not null,
        key text[] not null,
        sqlstate text not null,
        message text not null,
        at timestamptz not null default pg_catalog.now(),
        foreign key (migration_name, direction, statement) references windlass.backfill
            on delete cascade
    );
"""

# The verify script of a job, as it was when its migration was applied.
VERIFIED = "alter table windlass.backfill add column verify_checksum text not null default ''"

# Version N is the N-th entry. A new version is one more entry at the end: SQL that changes what
# the one before it has left. An entry that was released is never edited.
VERSIONS: tuple[str, ...] = (FIRST, SECOND, THIRD, BACKFILLS, VERIFIED)

# Every table of ours, of any version.
NAMES = (
    "version",
    "lease",
    "partial_migration",
    "alembic_revision",
    "deployment",
    "step",
    "correction",
    "approval",
    "identity",
    "marker",
    "event",
    "pause",
    "backfill",
    "backfill_row",
)

# Not to_regnamespace(): it answers from the session's cache, which does not hear of what another
# session has committed while we waited for ONE_AT_A_TIME before a table is looked at.
SCHEMA_EXISTS = "select exists (select from pg_catalog.pg_namespace where nspname = 'windlass')"
NEWEST = "select version, release from windlass.version order by version desc limit 1"
RECORD = "insert into windlass.version (version, release) values (%s, %s)"
STEP = "migrate/windlass"  # as a migration's: what a killed run left of it is ended by the next

# Privileges on the journal that others than its owner have; a table that comes later gets them
# too, or a role that reads the history today could not read it after an update.
GRANTED = """
    select case when a.grantee = 0 then 'public' else a.grantee::pg_catalog.regrole::text end,
           a.privilege_type
    from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
    where c.oid = pg_catalog.to_regclass('windlass.deployment') and a.grantee <> c.relowner
"""
TABLES = "select tablename::text from pg_catalog.pg_tables where schemaname = 'windlass'"


def read_version(connection: psycopg.Connection) -> int:
    """Return the version that the tables have; 0 where there are none, or none was recorded."""
    return _newest(connection)[0]


def _newest(connection: psycopg.Connection) -> tuple[int, str]:
    """Return the version, and the release of Windlass that brought the tables there."""
    if not trusted.exists(connection, "version"):
        return 0, ""
    row = connection.execute(NEWEST).fetchone()
    return (row[0], row[1]) if row else (0, "")


def require_known(connection: psycopg.Connection) -> None:
    """Do nothing where this Windlass knows the version of the tables. Reads only.

    Raises:
        Refused: a newer Windlass has changed them, our role may not read their version, or one of
            them is not to be believed.

    """
    trusted.exists(connection, *NAMES)
    with _allowed(connection):
        _known(connection, VERSIONS)


def _known(connection: psycopg.Connection, versions: tuple[str, ...]) -> int:
    version, release = _newest(connection)
    if version > len(versions):
        raise Refused(
            f"the tables of Windlass in this database have version {version}; this Windlass, "
            f"{release_of(PACKAGE)}, knows them up to version {len(versions)}",
            next_step=f"install Windlass {release} or a newer one",
        )
    return version


def prepare(database: Database, terms: Terms, versions: tuple[str, ...] = VERSIONS) -> None:
    """Bring the tables to the newest version, in one transaction; under the deployment lock.

    Args:
        database: where; nothing is locked there if its version is the newest one already.
        terms: how long to wait for a table that is read meanwhile; its guard is asked first.
        versions: the SQL of each version, the first one first.

    Raises:
        Refused: a newer Windlass has changed them, or our role may not.
        LockTimeout: one of the tables stayed locked until `lock.wait` was over.
        StepFailed: the server did not do it; what is recorded is as it was.

    """

    def known(connection: psycopg.Connection) -> int:
        with _allowed(connection):
            return _known(connection, versions)

    def attempt(connection: psycopg.Connection) -> None:
        ensure(connection, versions)

    with asking("what is recorded is as it was"):
        if database.read(STEP, known) < len(versions):
            with_retry(terms, database, attempt, step=STEP)


def ensure(connection: psycopg.Connection, versions: tuple[str, ...] = VERSIONS) -> None:
    """Do the same in a transaction of the caller's, who limits how long it waits."""
    if _known(connection, versions) == len(versions):
        return
    exists = bool(one_value(connection, SCHEMA_EXISTS))
    with _allowed(connection, schema=exists), connection.transaction():
        connection.execute(ONE_AT_A_TIME)
        before = _tables(connection)
        done = _known(connection, versions)  # another run may have been faster
        _create(connection, VERSION_TABLE)
        for number, text in enumerate(versions[done:], start=done + 1):
            connection.execute(text.encode())
            connection.execute(RECORD, (number, release_of(PACKAGE)))
        trusted.exists(connection, *NAMES)  # nobody was faster
        _grant(connection, _tables(connection) - before)


def ensure_lease(connection: psycopg.Connection) -> None:
    """Create the table of the lease where it is missing: it is needed before the lock is held.

    Raises:
        Refused: our role may not create it.

    """
    if trusted.exists(connection, "lease"):
        return
    exists = bool(one_value(connection, SCHEMA_EXISTS))
    with _allowed(connection, schema=exists), connection.transaction():
        connection.execute(ONE_AT_A_TIME)
        _create(connection, LEASE)
        trusted.exists(connection, "lease")  # nobody was faster


def _create(connection: psycopg.Connection, table: str) -> None:
    """Create one table, and the schema; a role that may not create one may have been given it."""
    if not one_value(connection, SCHEMA_EXISTS):
        connection.execute("create schema if not exists windlass")
    connection.execute(table.encode())


def _tables(connection: psycopg.Connection) -> frozenset[str]:
    return frozenset(row[0] for row in connection.execute(TABLES).fetchall())


def _grant(connection: psycopg.Connection, tables: frozenset[str]) -> None:
    """Give the roles that may read or write the journal the same privileges on other tables."""
    for role, privilege in connection.execute(GRANTED).fetchall():
        for table in sorted(tables):
            statement = sql.SQL("grant {} on windlass.{} to {}").format(
                sql.SQL(privilege), sql.Identifier(table), sql.SQL(role)
            )
            connection.execute(statement)


@contextmanager
def _allowed(connection: psycopg.Connection, *, schema: bool = True) -> Iterator[None]:
    """Say what to grant where our role may not do it; `schema` tells whether that exists."""
    try:
        yield
    except pg.InsufficientPrivilege as error:
        user = connection.info.user
        message = error.diag.message_primary or "permission denied"
        raise Refused(
            f"{user} may not keep the tables of Windlass in this database: {message}",
            next_step=f"deploy as the owner of the schema windlass, or grant that role to {user}"
            if schema
            else f'as the owner of the database: create schema "windlass" authorization {user}',
        ) from error
