"""What a role may do in a database, read from the server; what it lacks refuses before a verb."""

from dataclasses import dataclass
from typing import LiteralString, TypeVar

import psycopg
from psycopg.rows import class_row

from ..database.connection import Database
from ..database.errors import one_value
from ..database.sessions import remedy, sessions_text, unendable
from ..errors import Refused
from ..model import StepName
from ..plan.grants import RoleGrants, grants_for, role_names
from ..plan.rights import (
    Job,
    MissingRight,
    RelationRights,
    Rights,
    RoleRights,
    SchemaRights,
    missing_rights,
    signal_missing,
)
from ..policy import steps_for
from ..postgres import throwaway
from .work import Work

T = TypeVar("T")

ROLE = """
    select %(who)s::name::text, d.datname::text, pg_catalog.pg_get_userbyid(d.datdba)::text,
           pg_catalog.current_setting('server_version_num')::int, r.rolsuper,
           r.rolcreatedb, exists (select from pg_catalog.pg_roles p
               where p.rolname = 'pg_read_all_data'
                 and pg_catalog.pg_has_role(%(who)s::name, p.oid, 'USAGE')),
           pg_catalog.pg_has_role(%(who)s::name, 'pg_signal_backend', 'USAGE'),
           pg_catalog.has_database_privilege(%(who)s::name, d.oid, 'CREATE'),
           (select pg_catalog.count(*) from pg_catalog.pg_largeobject_metadata)::int
    from pg_catalog.pg_database d, pg_catalog.pg_roles r
    where d.datname = pg_catalog.current_database() and r.rolname = %(who)s::name
"""
SCHEMAS = """
    select n.nspname::text as name,
           pg_catalog.has_schema_privilege(%(who)s::name, n.oid, 'USAGE') as usage,
           pg_catalog.has_schema_privilege(%(who)s::name, n.oid, 'CREATE') as create,
           pg_catalog.pg_has_role(%(who)s::name, n.nspowner, 'USAGE') as owned
    from pg_catalog.pg_namespace n
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1
"""
RELATIONS = """
    select n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
           pg_catalog.pg_get_userbyid(c.relowner)::text as owner,
           pg_catalog.pg_has_role(%(who)s::name, c.relowner, 'USAGE') as owned,
           pg_catalog.has_table_privilege(%(who)s::name, c.oid, 'SELECT') as select,
           pg_catalog.has_table_privilege(%(who)s::name, c.oid, 'INSERT')
           and pg_catalog.has_table_privilege(%(who)s::name, c.oid, 'UPDATE')
           and pg_catalog.has_table_privilege(%(who)s::name, c.oid, 'DELETE') as write,
           c.relrowsecurity as secured,
           c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
           and (c.relforcerowsecurity
                or not pg_catalog.pg_has_role(%(who)s::name, c.relowner, 'USAGE')) as filtered
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_roles r on r.rolname = %(who)s::name
    where c.relkind in ('r', 'p', 'S') and c.relpersistence <> 't'
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and not exists (
          select from pg_catalog.pg_depend d
          where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
            and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
            and d.deptype = 'e')
    order by 1, 2
"""
OWNERS: LiteralString = """
    select d.datdba from pg_catalog.pg_database d
    where d.datname = pg_catalog.current_database()
    union select r.oid from pg_catalog.pg_roles r where r.rolname in (/*NAMED*/)
""".replace("/*NAMED*/", throwaway.OWNERS)
CONFIGURED = """
    select s.setrole from pg_catalog.pg_db_role_setting s
    join pg_catalog.pg_database d on d.oid = s.setdatabase
    where d.datname = pg_catalog.current_database() and s.setrole <> 0
"""
# What SET ROLE, and giving an object away, ask for: a right of its own since 16.
ROLES_16: LiteralString = """
    select o.rolname::text as name, pg_catalog.pg_has_role(%(who)s::name, o.oid, 'USAGE') as usage,
           pg_catalog.pg_has_role(%(who)s::name, o.oid, 'SET') as assume,
           r.rolsuper or r.oid = o.oid or (r.rolcreaterole and not o.rolsuper
           and pg_catalog.pg_has_role(%(who)s::name, o.oid, 'MEMBER WITH ADMIN OPTION')
           ) as configure, o.rolsuper as superuser
    from pg_catalog.pg_roles o join pg_catalog.pg_roles r on r.rolname = %(who)s::name
    where o.rolname !~ '^pg_' and o.oid in (/*WHICH*/) order by 1
"""
ROLES_15: LiteralString = """
    select o.rolname::text as name, pg_catalog.pg_has_role(%(who)s::name, o.oid, 'USAGE') as usage,
           pg_catalog.pg_has_role(%(who)s::name, o.oid, 'MEMBER') as assume,
           r.rolsuper or r.oid = o.oid or (r.rolcreaterole and not o.rolsuper) as configure,
           o.rolsuper as superuser
    from pg_catalog.pg_roles o join pg_catalog.pg_roles r on r.rolname = %(who)s::name
    where o.rolname !~ '^pg_' and o.oid in (/*WHICH*/) order by 1
"""
SEALED = """
    select l.oid::bigint from pg_catalog.pg_largeobject_metadata l
    where not pg_catalog.pg_has_role(%(who)s::name, l.lomowner, 'USAGE') and not exists (
        select from pg_catalog.aclexplode(l.lomacl) a where a.privilege_type = 'SELECT'
          and case when a.grantee = 0 then true
              else pg_catalog.pg_has_role(%(who)s::name, a.grantee, 'USAGE') end)
    order by 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsReport:
    """The statements for each role, and the rights of the owner that they were made from."""

    grants: tuple[RoleGrants, ...]
    owner: str
    notes: tuple[str, ...]
    rights: Rights


def read_rights(connection: psycopg.Connection, who: str = "") -> Rights:
    """Return what a role may do in the database of a connection; empty: our own. Reads only.

    Raises:
        Refused: there is no such role.

    """
    name = who or str(one_value(connection, "select current_user::text"))
    asked = {"who": name}
    row = connection.execute(ROLE, asked).fetchone()
    if row is None:
        raise Refused(f'there is no role "{name}"', next_step="name one that exists: \\du")
    user, database, owner, version, superuser, createdb, read_all, signal, create, large = row
    roles = ROLES_16 if version >= 160000 else ROLES_15

    def rows(query: LiteralString, kind: type[T]) -> tuple[T, ...]:
        with connection.cursor(row_factory=class_row(kind)) as cursor:
            return tuple(cursor.execute(query, asked).fetchall())

    return Rights(
        user=user,
        database=database,
        owner=owner,
        server_version=version,
        superuser=superuser,
        createdb=createdb,
        read_all=read_all,
        signal=signal,
        create=create,
        schemas=rows(SCHEMAS, SchemaRights),
        relations=rows(RELATIONS, RelationRights),
        owners=rows(roles.replace("/*WHICH*/", OWNERS), RoleRights),
        configured=rows(roles.replace("/*WHICH*/", CONFIGURED), RoleRights),
        large_objects=large,
        sealed=tuple(row[0] for row in connection.execute(SEALED, asked).fetchall()),
    )


def history_names(work: Work) -> tuple[tuple[str, str], ...]:
    """Return the tables (schema, name) of the environment's migration tool."""
    return tuple((table.schema, table.name) for table in work.engine.history.tables)


def lacking(connection: psycopg.Connection, work: Work, job: Job) -> tuple[MissingRight, ...]:
    """Return what our role lacks for a job in the environment's database."""
    saves = any(step.name == StepName.BACKUP for step in steps_for(work.settings))
    rights = read_rights(connection)
    return missing_rights(rights, job, history_names(work), saves=saves and work.store is not None)


def require(database: Database, work: Work, job: Job) -> None:
    """Raise `Refused` where our role lacks a right for a job. Reads only."""

    def look(connection: psycopg.Connection) -> tuple[MissingRight, ...]:
        return lacking(connection, work, job)

    refuse(str(database.parameters().get("user", "our role")), database.read(job, look))


def refuse(user: str, missing: tuple[MissingRight, ...]) -> None:
    """Raise `Refused` with the first missing right, and how many more there are."""
    if not missing:
        return
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    raise Refused(
        f"{user} lacks {missing[0].right}{more}",
        next_step="; ".join(dict.fromkeys(right.remedy for right in missing)),
    )


def require_swap(connection: psycopg.Connection, *names: str) -> None:
    """Raise `Refused` where sessions of these databases cannot be ended by our role. Reads only."""
    sessions = unendable(connection, names)
    if sessions:
        user = str(one_value(connection, "select current_user::text"))
        raise Refused(
            f"the swap could not end the sessions of others: {user} may not end "
            f"{sessions_text(sessions)}",
            next_step=remedy(sessions, user),
        )


def signal_lacking(connection: psycopg.Connection) -> tuple[MissingRight, ...]:
    """Return the right to end others' sessions where our role lacks it."""
    return signal_missing(read_rights(connection))


def report_grants(work: Work, roles: str = "", owner: str = "") -> GrantsReport:
    """Return the SQL that gives each role what it needs in the environment's database. Reads only.

    Args:
        work: the environment.
        roles: which, and their names: `plan,backup=saver`; empty: migrate, plan, backup and
            restore, named DATABASE_JOB.
        owner: who owns the tables; empty: the owner of the database.

    Raises:
        ConfigError: there is no such role, or a name cannot be one's.
        Refused: the owner does not exist, or is a superuser.

    """

    def read(connection: psycopg.Connection) -> Rights:
        return read_rights(connection, owner or read_rights(connection).owner)

    rights = work.database.read("grants", read)
    names = role_names(roles, rights.database)
    history = history_names(work)
    known = {(relation.schema, relation.name) for relation in rights.relations}
    absent = [
        name
        for schema, name in history
        if not any(name == other and schema in ("", where) for where, other in known)
    ]
    notes = [
        f"{name} does not exist yet: run invoke grants again after the first deployment"
        for name in absent
    ]
    notes += [
        f"{role} is a superuser and owns objects: reassign them, none is made its member"
        for role in sorted(rights.super_owners)
    ]
    if rights.user not in work.settings.shared.migrations.owners:
        notes.append(
            "write into deploy.yml, or the roles that only read do not believe its tables: "
            f"migrations: {{owners: [{rights.user}]}}"
        )
    return GrantsReport(
        grants=grants_for(rights, names, history),
        owner=rights.user,
        notes=tuple(notes),
        rights=rights,
    )
