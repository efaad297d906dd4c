"""The role that loads an archive where ours is a superuser: a login of its own, with no rights.

It owns the database while the archive is loaded, so that what the archive's SQL does, it does as
an owner without any other right. When all is loaded our own role gives everything to whom it
belongs, and the role is dropped.
"""

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ..database.connection import Database
from ..database.errors import asking, one_value
from ..errors import StepFailed, Unreachable, changed
from ..secret import Secret, remember
from .handover import Extension, Handover, Statement
from .stream import SHOWN

T = TypeVar("T")

PREFIX = "windlass_load_"
NOTE = "made by Windlass for one restore"
CREATE = sql.SQL(
    "create role {} login nosuperuser nocreatedb nocreaterole nobypassrls noreplication inherit "
    "password {}"
)
ABANDONED = 3600  # seconds after which a role without a session is a killed run's
WHO = """
select me.rolsuper, owner.rolsuper, owner.rolname::text
from pg_catalog.pg_database d
join pg_catalog.pg_roles me on me.rolname = current_user
join pg_catalog.pg_roles owner on owner.oid = d.datdba
where d.datname = pg_catalog.current_database()
"""
CLIENT = "select pg_catalog.inet_client_addr()::pg_catalog.inet::text"
SUPERUSERS = "select rolname::text from pg_catalog.pg_roles where rolsuper"
PUBLIC_OWNER = """
select pg_catalog.pg_get_userbyid(nspowner)::text from pg_catalog.pg_namespace
where nspname = 'public'
"""
# What an extension brought is ours: the role may use it, and write its tables of settings.
BROUGHT = """
select pg_catalog.format('schema %I', nspname) from pg_catalog.pg_namespace
where nspname !~ '^pg_' and nspname <> 'information_schema'
union all select pg_catalog.format('foreign data wrapper %I', fdwname)
from pg_catalog.pg_foreign_data_wrapper
"""
SETTINGS = """
select t::pg_catalog.regclass::text from pg_catalog.pg_extension, pg_catalog.unnest(extconfig) t
"""
# What the role does not own is the server's, or an extension's. Owners stay as they are; so do the
# grants on functions that not everybody may call.
OTHERS = """
with mine as (select oid from pg_catalog.pg_roles where rolname = %(name)s)
select 'pg_proc ' || oid || ' ' || proname, proowner::text || case when proacl is null or exists (
    select from pg_catalog.aclexplode(proacl) where grantee = 0) then '' else proacl::text end
from pg_catalog.pg_proc where proowner <> (select oid from mine)
union all select 'pg_class ' || oid || ' ' || relname, relowner::text from pg_catalog.pg_class
where relowner <> (select oid from mine)
union all select 'pg_namespace ' || oid || ' ' || nspname, nspowner::text
from pg_catalog.pg_namespace where nspowner <> (select oid from mine)
union all select 'pg_type ' || oid || ' ' || typname, typowner::text from pg_catalog.pg_type
where typowner <> (select oid from mine)
union all select 'pg_language ' || oid || ' ' || lanname, lanowner::text
from pg_catalog.pg_language where lanowner <> (select oid from mine)
"""
# A sequence of a column follows its table.
OWN_TABLES = """
select n.nspname, c.relname from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and c.relowner = (select r.oid from pg_catalog.pg_roles r where r.rolname = %s)
  and not exists (
      select from pg_catalog.pg_depend d where d.objid = c.oid
      and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i'))
order by 1, 2
"""
TOGETHER = 100  # statements of one transaction: each locks a table and its indexes until its end
LEFT = """
select rolname::text from pg_catalog.pg_roles r
where pg_catalog.starts_with(rolname::text, %(prefix)s)
  and (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
  and pg_catalog.shobj_description(oid, 'pg_authid') = %(note)s
  and not exists (select from pg_catalog.pg_stat_activity a where a.usesysid = r.oid)
"""


@dataclass(frozen=True, slots=True)
class Loading:
    """Whether our role is a superuser, whether the database's owner is, and who that is."""

    ours: bool
    owners: bool
    owner: str


def read_loading(connection: psycopg.Connection) -> Loading:
    """Return who would load an archive into this database."""
    row = connection.execute(WHO).fetchone()
    if row is None:
        raise AssertionError("the server does not know its own user")
    return Loading(*row)


def read_superusers(connection: psycopg.Connection) -> frozenset[str]:
    """Return the superusers of a server."""
    return frozenset(name for (name,) in connection.execute(SUPERUSERS).fetchall())


@dataclass
class Loader:
    """The role, and what our own one has to do when it is done.

    name: the role's.
    own: the database, as our role.
    database: the same, as the loading role.
    to: whose the database is, and whatever has no owner of its own.
    gives: whether owners and grants are restored.
    keeps: whether what nobody may be given stays the loading role's: on a copy.
    left: what is not done for the archive there, in words.
    """

    name: str
    own: Database
    database: Database
    to: str
    public: str
    gives: bool = True
    keeps: bool = False
    statements: list[Statement] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    encoding: str = "UTF8"  # of the archive's script; another one's bytes are a letter each here

    def prepare(self, handover: Handover) -> None:
        """Create the extensions, and let the role use what they bring."""
        with asking("nothing was restored"), self.own.connect("restore") as connection:
            role = sql.Identifier(self.name)
            for extension in handover.extensions:
                self._create(connection, extension, role)
            if handover.extensions:
                for (what,) in connection.execute(BROUGHT).fetchall():
                    usage = sql.SQL("grant usage on {} to {}")
                    connection.execute(usage.format(sql.SQL(what), role))
                for (table,) in connection.execute(SETTINGS).fetchall():
                    grant = sql.SQL("grant select, insert, update on {} to {}")
                    connection.execute(grant.format(sql.SQL(table), role))
        self.statements += handover.statements

    def _create(
        self, connection: psycopg.Connection, extension: Extension, role: sql.Identifier
    ) -> None:
        name = sql.Identifier(extension.name)
        statement: sql.Composed = sql.SQL("create extension if not exists {}").format(name)
        if extension.schema and extension.schema != "pg_catalog":
            schema = sql.Identifier(extension.schema)
            if extension.schema != "public":
                make = sql.SQL("create schema if not exists {} authorization {}")
                connection.execute(make.format(schema, role))
                self.made.add(extension.schema)
            statement += sql.SQL(" with schema {}").format(schema)
        connection.execute(statement)

    def hand_over(self) -> None:
        """Give everything to whom it belongs: a part of the server's lock slots at a time.

        Raises:
            StepFailed: the server refused a statement, or one was about what the archive did not
                bring; what was given until then is given in this database alone.

        """
        state = f"{self.own.name} holds the backup, but its objects have not all their owners yet"
        with asking(state), self.own.connect("restore") as connection:
            others = self._others(connection)
            self._own_again(connection)
            connection.execute(sql.SQL("set client_encoding = {}").format(self.encoding))
            late: list[Statement] = []
            for statements in _parts(self.statements):
                with connection.transaction():
                    late += self._given(connection, statements)
            for statements in _parts(late):
                with connection.transaction():
                    for statement in statements:
                        connection.execute(self._bytes(statement))
            connection.execute("reset session authorization; set client_encoding = 'UTF8'")
            self._require_untouched(connection, others, state)
            if not self.keeps:
                self._reassign(connection)

    def _reassign(self, connection: psycopg.Connection) -> None:
        """Give what has no owner of its own to the database's, and take the role's rights."""
        role, owner = sql.Identifier(self.name), sql.Identifier(self.to)
        tables = connection.execute(OWN_TABLES, (self.name,)).fetchall()
        for names in _parts(tables):
            with connection.transaction():
                for schema, name in names:
                    alter = sql.SQL("alter table {} owner to {}")
                    connection.execute(alter.format(sql.Identifier(schema, name), owner))
        connection.execute(sql.SQL("reassign owned by {} to {}").format(role, owner))
        connection.execute(sql.SQL("drop owned by {}").format(role))

    def _others(self, connection: psycopg.Connection) -> dict[str, str]:
        return dict(connection.execute(OTHERS, {"name": self.name}).fetchall())

    def _require_untouched(
        self, connection: psycopg.Connection, before: dict[str, str], state: str
    ) -> None:
        now = self._others(connection)
        changes = [name for name, value in before.items() if now.get(name) != value]
        if changes:
            names = ", ".join(name.split(" ", 2)[2] for name in changes[:SHOWN])
            raise StepFailed(
                f"the archive gives away what it did not bring: {names}",
                state=state,
                next_step="find out who wrote it; to let its SQL do so: --as-superuser",
            )

    def _given(
        self, connection: psycopg.Connection, statements: Iterable[Statement]
    ) -> Iterator[Statement]:
        """Run statements, and yield those that the server takes only when the others are done.

        A sequence follows its table, and cannot go before.
        """
        for statement in statements:
            if statement.gives and not (self.gives or statement.grant):
                continue
            try:
                with connection.transaction():
                    connection.execute(self._bytes(statement))
            except pg.FeatureNotSupported:
                yield statement
            except pg.UndefinedObject as error:
                if not self.keeps and self.gives:
                    raise
                self.left.append(f"{statement.sql}: {error.diag.message_primary}")

    def _bytes(self, statement: Statement) -> bytes:
        return statement.sql.encode("utf-8" if self.encoding == "UTF8" else "latin-1")

    def _own_again(self, connection: psycopg.Connection) -> None:
        name, owner = sql.Identifier(self.own.name), sql.Identifier(self.to)
        connection.execute(sql.SQL("alter database {} owner to {}").format(name, owner))
        if self.public:
            owner = sql.Identifier(self.public)
            connection.execute(sql.SQL("alter schema public owner to {}").format(owner))

    def take_back(self) -> None:
        """Leave nothing of the role behind a load that failed, as far as it goes."""
        with self.own.connect("restore") as connection:
            role = sql.Identifier(self.name)
            connection.execute(sql.SQL("alter role {} nologin password null").format(role))
            self._own_again(connection)
            connection.execute(sql.SQL("drop owned by {} cascade").format(role))


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), TOGETHER):
        yield items[start : start + TOGETHER]


@contextmanager
def lowered(
    target: Database, loading: Loading, *, gives: bool, keeps: bool = False
) -> Iterator[Loader]:
    """Make the role for the block; what it loaded is handed over at its end.

    Args:
        target: the database, as a superuser.
        loading: what `read_loading` says of it.
        gives: whether owners and grants are restored.
        keeps: the database is a copy that will be dropped; the role goes with it.

    Raises:
        StepFailed: the role cannot log in.

    """
    with asking("nothing was restored"), target.connect("restore") as connection:
        sweep(connection)
        loader = _make(connection, target, loading)
    loader.gives, loader.keeps = gives, keeps
    try:
        _require_login(loader)
        yield loader
        loader.hand_over()
    except BaseException:
        with contextlib.suppress(psycopg.Error, StepFailed):
            loader.take_back()
            drop(target, loader.name)
        raise
    if not keeps:
        with contextlib.suppress(psycopg.Error, StepFailed):
            drop(target, loader.name)


def _make(connection: psycopg.Connection, target: Database, loading: Loading) -> Loader:
    name = f"{PREFIX}{int(time.time()):x}_{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(24)
    remember(password)
    # As the server keeps it: a statement may be logged there.
    kept = connection.pgconn.encrypt_password(password.encode(), name.encode(), None)
    role = sql.Identifier(name)
    with connection.transaction():
        public = connection.execute(PUBLIC_OWNER).fetchone()
        connection.execute(CREATE.format(role, kept.decode()))
        connection.execute(sql.SQL("comment on role {} is {}").format(role, NOTE))
        give = sql.SQL("alter database {} owner to {}").format(sql.Identifier(target.name), role)
        connection.execute(give)
        if public is not None:
            connection.execute(sql.SQL("alter schema public owner to {}").format(role))
    url = make_conninfo(target.url.reveal(), user=name, password=password)
    database = Database(
        url=Secret(url),
        deployment_id=target.deployment_id,
        owners=target.owners,
        patience=target.patience,
    )
    return Loader(name, target, database, loading.owner, public[0] if public is not None else "")


def _require_login(loader: Loader) -> None:
    try:
        with loader.database.connect("restore"):
            return
    except Unreachable as error:
        raise changed(
            error,
            state="nothing was restored",
            next_step=loader.own.read("restore", _line)
            + (
                "leave out backups.throwaway: a server is started here"
                if loader.keeps
                else "restore as a role that is no superuser; or let the archive's SQL run as "
                "one: --as-superuser"
            ),
        ) from error


def _line(connection: psycopg.Connection) -> str:
    """Return the line of pg_hba.conf that lets the role in from where we are, in words.

    Before 16 a line has no pattern: one for every role would shut out who comes in otherwise.
    """
    if connection.info.server_version < 160_000:
        return ""
    client, kind = one_value(connection, CLIENT), "local"
    if client is not None:
        kind = "hostssl" if connection.pgconn.ssl_in_use else "host"
    place = "" if client is None else f" {client}"
    return (
        f'write as the first line of pg_hba.conf: {kind} all "/^{PREFIX}"{place} scram-sha-256 '
        "(and reload: select pg_reload_conf()); or "
    )


def drop(admin: Database, name: str) -> None:
    """Drop a loading role; it stays where it still owns something."""
    with admin.connect("restore") as connection:
        connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


def abandoned(connection: psycopg.Connection) -> tuple[str, ...]:
    """Return the roles that killed restores left; for a superuser, who alone makes them."""
    rows = connection.execute(LEFT, {"prefix": PREFIX, "note": NOTE}).fetchall()
    return tuple(name for (name,) in rows if _is_old(name))


def _is_old(name: str) -> bool:
    try:
        made = int(name.removeprefix(PREFIX).partition("_")[0], 16)
    except ValueError:
        return False
    return time.time() - made > ABANDONED


def sweep(connection: psycopg.Connection) -> tuple[str, ...]:
    """Drop the roles that killed restores left, and return them.

    One that still owns a database stays until that is dropped.
    """
    dropped = []
    for name in abandoned(connection):
        with contextlib.suppress(pg.DependentObjectsStillExist, pg.UndefinedObject):
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))
            dropped.append(name)
    return tuple(dropped)
