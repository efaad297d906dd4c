"""The role that migrations run as on a copy: what the real one is and has, and never more.

On a server of our own it has the real one's name. On a server that deploy.yml names, whose roles
are others', it has a name of its own, and is given what the real one owns.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ..database.connection import Database
from ..errors import StepFailed, Unchanged
from ..secret import Secret
from . import copies

# Who is a member of these leads a server to programs, files and networks of its machine.
REACHING = frozenset(
    {
        "pg_execute_server_program",
        "pg_read_server_files",
        "pg_write_server_files",
        "pg_create_subscription",
    }
)
ADMIN_OPTION_SINCE = 160000  # before, CREATEROLE may grant itself any role, REACHING too


@dataclass(frozen=True, slots=True)
class Membership:
    """That a role is a member of another; the options as since 16, before all but `admin` hold."""

    role: str
    member: str
    admin: bool = False
    inherits: bool = True
    sets: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """The role that runs migrations, as its database has it.

    roles: every role of that server but the built-in ones: a GRANT may name each of them.
    memberships: its own, and those of the roles it is a member of.
    database_owner: whose the database is.
    database_create: whether it may create schemas there.
    """

    name: str
    superuser: bool = False
    createdb: bool = False
    createrole: bool = False
    bypassrls: bool = False
    inherits: bool = True
    roles: tuple[str, ...] = ()
    memberships: tuple[Membership, ...] = ()
    database_owner: str = ""
    database_create: bool = True


@dataclass(frozen=True, slots=True)
class Clone:
    """The runner on a copy.

    database: the copy, as the clone.
    lacks: what the real role has and this one has not, in words; empty: nothing.
    """

    database: Database
    lacks: tuple[str, ...]


def checker(roles: Iterable[str]) -> Runner:
    """Return who runs migrations where no database says who will: an owner without other rights.

    It may create roles, and be each of `roles`, which migrations name.
    """
    name, known = "windlass_checker", tuple(sorted(roles))
    return Runner(
        name=name,
        createrole=True,
        roles=known,
        memberships=tuple(Membership(role, name, sets=True) for role in known),
        database_owner=name,
    )


ME = """
select rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolinherit,
       (select pg_catalog.pg_get_userbyid(datdba) from pg_catalog.pg_database
        where datname = pg_catalog.current_database()),
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
from pg_catalog.pg_roles where rolname = current_user
"""
NAMES = "select rolname from pg_catalog.pg_roles where rolname !~ '^pg_' order by 1"
# to_jsonb: 15 and older have no such columns.
MEMBERSHIPS = """
with recursive mine as (
    select m.* from pg_catalog.pg_auth_members m
    join pg_catalog.pg_roles r on r.oid = m.member where r.rolname = current_user
    union select m.* from pg_catalog.pg_auth_members m join mine on m.member = mine.roleid)
select distinct pg_catalog.pg_get_userbyid(roleid), pg_catalog.pg_get_userbyid(member),
       admin_option,
       coalesce((pg_catalog.to_jsonb(mine) ->> 'inherit_option')::boolean, true),
       coalesce((pg_catalog.to_jsonb(mine) ->> 'set_option')::boolean, true)
from mine order by 1, 2
"""


def read_runner(connection: psycopg.Connection) -> Runner:
    """Return what the role of this connection is, on its server."""
    row = connection.execute(ME).fetchone()
    if row is None:
        raise AssertionError("current_user is not in pg_roles")
    name, superuser, createdb, createrole, bypassrls, inherits, owner, create = row
    return Runner(
        name=name,
        superuser=superuser,
        createdb=createdb,
        createrole=createrole,
        bypassrls=bypassrls,
        inherits=inherits,
        roles=tuple(row[0] for row in connection.execute(NAMES)),
        memberships=tuple(Membership(*row) for row in connection.execute(MEMBERSHIPS)),
        database_owner=owner,
        database_create=create,
    )


def allowed(runner: Runner, *, boxed: bool, version: int) -> tuple[Runner, tuple[str, ...]]:
    """Return what a clone may be, and in words what it lacks then of the real one. Pure.

    Args:
        runner: the real one.
        boxed: whether the server is in a sandbox; else nothing may reach the machine.
        version: of the server, as server_version_num.

    """
    if boxed:
        return runner, ()
    reaching = [m.role for m in runner.memberships if m.role in REACHING]
    grants_itself = runner.createrole and version < ADMIN_OPTION_SINCE
    lacks = ["superuser"] * runner.superuser + ["CREATEROLE"] * grants_itself
    lacks += [f"membership in {role}" for role in dict.fromkeys(reaching)]
    return (
        Runner(
            name=runner.name,
            createdb=runner.createdb,
            createrole=runner.createrole and not grants_itself and not runner.superuser,
            bypassrls=runner.bypassrls and not runner.superuser,
            inherits=runner.inherits,
            roles=runner.roles,
            memberships=tuple(m for m in runner.memberships if m.role not in REACHING),
            database_owner=runner.name if runner.superuser else runner.database_owner,
            database_create=runner.database_create,
        ),
        tuple(lacks),
    )


def clone(admin: Database, copy: Database, runner: Runner, *, boxed: bool, ours: bool) -> Clone:
    """Make the runner on a copy, behind its restore, and return it.

    Args:
        admin: the server, as its superuser.
        copy: the copy, as its superuser.
        runner: the real role.
        boxed: whether the server is in a sandbox.
        ours: whether its roles are all of our making; else `clean` takes back what was made.

    """
    with copy.connect("role") as connection:
        if ours and not boxed:
            _refuse_programs(connection)
        version = connection.info.server_version
        real, lacks = allowed(runner, boxed=boxed, version=version)
        known = _names(connection)
        name = real.name if ours else copies.new_role(copy.name)
        password = secrets.token_urlsafe(24)
        verb = "alter" if name in known else "create"
        statement = sql.SQL(verb + " role {} with login password {} " + _attributes(real))
        connection.execute(statement.format(sql.Identifier(name), password))
        for membership in real.memberships:
            _grant(connection, membership, known, own=(real.name, name), version=version)
        _give(connection, real, name, copy.name, known, ours=ours)
    parameters = admin.url.reveal(), copy.name
    url = make_conninfo(parameters[0], dbname=parameters[1], user=name, password=password)
    clone = Database(url=Secret(url), deployment_id=copy.deployment_id, owners=copy.owners)
    return Clone(clone, lacks)


UNTRUSTED = """
select distinct lanname from pg_catalog.pg_proc
join pg_catalog.pg_language l on l.oid = prolang
where not lanpltrusted and lanname not in ('internal', 'c', 'sql')
"""


def _refuse_programs(connection: psycopg.Connection) -> None:
    """Refuse a copy whose functions are programs: any role may run them, by a trigger too."""
    languages = [name for (name,) in connection.execute(UNTRUSTED)]
    if languages:
        raise StepFailed(
            f"the database has functions in {', '.join(languages)}, which can do anything on "
            "this machine, and the copy's server is in no sandbox",
            state=Unchanged("no migration was run"),
            next_step="install bubblewrap here, or name a server elsewhere: throwaway: URL "
            "under backups in deploy.yml",
        )


def _names(connection: psycopg.Connection) -> dict[str, bool]:
    """Return every role of a server, and whether it is a superuser."""
    rows = connection.execute("select rolname, rolsuper from pg_catalog.pg_roles").fetchall()
    return dict(rows)


def _attributes(runner: Runner) -> str:
    pairs = (
        ("superuser", runner.superuser),
        ("createdb", runner.createdb),
        ("createrole", runner.createrole),
        ("bypassrls", runner.bypassrls),
        ("inherit", runner.inherits),
    )
    return " ".join(word if is_so else f"no{word}" for word, is_so in pairs)


def _grant(
    connection: psycopg.Connection,
    membership: Membership,
    known: dict[str, bool],
    *,
    own: tuple[str, str],
    version: int,
) -> None:
    """Make a role a member, unless the role is a superuser there: others' servers have those."""
    member = own[1] if membership.member == own[0] else membership.member
    if known.get(membership.role, True) or membership.role == member:
        return
    options: sql.Composable = sql.SQL(" with admin option" if membership.admin else "")
    if version >= ADMIN_OPTION_SINCE:
        options = sql.SQL(" with admin {}, inherit {}, set {}").format(
            *(sql.SQL(str(o).lower()) for o in _options(membership))
        )
    names = sql.Identifier(membership.role), sql.Identifier(member)
    connection.execute(sql.SQL("grant {} to {}").format(*names) + options)


def _options(membership: Membership) -> tuple[bool, bool, bool]:
    return membership.admin, membership.inherits, membership.sets


def _give(
    connection: psycopg.Connection,
    real: Runner,
    name: str,
    database: str,
    known: dict[str, bool],
    *,
    ours: bool,
) -> None:
    """Give the clone what the real one has of the copy: the database, and what it owns in it."""
    owner = real.database_owner
    if owner == real.name or owner not in known or known[owner]:
        owner = name if owner == real.name else ""
    if owner:
        _own(connection, "database", sql.Identifier(database), owner)
    if real.database_create:
        connection.execute(
            sql.SQL("grant create, temporary on database {} to {}").format(
                sql.Identifier(database), sql.Identifier(name)
            )
        )
    if not ours and real.name in known:
        if known[real.name]:
            transfer(connection, real.name, name)
        else:
            _grant(connection, Membership(real.name, name), known, own=("", ""), version=0)


# What has an owner, by catalog; what belongs to an extension or to another object goes with that.
OWNED = """
with owned (class, object) as (
    select 'pg_catalog.pg_class'::pg_catalog.regclass::oid, oid from pg_catalog.pg_class
        where relowner = {role} and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    union all select 'pg_catalog.pg_proc'::pg_catalog.regclass::oid, oid
        from pg_catalog.pg_proc where proowner = {role}
    union all select 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, oid
        from pg_catalog.pg_namespace where nspowner = {role}
    union all select 'pg_catalog.pg_type'::pg_catalog.regclass::oid, t.oid
        from pg_catalog.pg_type t left join pg_catalog.pg_class c on c.oid = t.typrelid
        where typowner = {role} and (typtype in ('d', 'e', 'r') or c.relkind = 'c'))
select i.type, i.identity from owned,
    lateral pg_catalog.pg_identify_object(class, object, 0) i
where object >= 16384 and i.identity is not null and not exists (
    select from pg_catalog.pg_depend d where d.classid = class and d.objid = object
    and d.objsubid = 0 and d.deptype in ('e', 'i', 'a') and d.refclassid <>
        'pg_catalog.pg_namespace'::pg_catalog.regclass
    and (class <> 'pg_catalog.pg_proc'::pg_catalog.regclass::oid or d.deptype = 'e'))
"""
KINDS = frozenset(
    {"table", "view", "materialized view", "sequence", "foreign table", "function", "procedure"}
    | {"aggregate", "schema", "type"}
)


def transfer(connection: psycopg.Connection, old: str, new: str) -> None:
    """Give another role what a role owns in this database; REASSIGN would take databases too."""
    role = sql.SQL("(select oid from pg_catalog.pg_roles where rolname = {})").format(old)
    for kind, identity in connection.execute(sql.SQL(OWNED).format(role=role)).fetchall():
        if kind in KINDS:
            _own(connection, kind, sql.SQL(identity), new)


def _own(connection: psycopg.Connection, kind: str, named: sql.Composable, role: str) -> None:
    owner = sql.Identifier(role)
    statement = sql.SQL("alter {} {} owner to {}").format(sql.SQL(kind), named, owner)
    connection.execute(statement)


def refused(error: BaseException | None) -> bool:
    """Tell whether a statement was refused for want of a privilege (42501), here or as a cause."""
    while error is not None:
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return True
        error = error.__cause__
    return False
