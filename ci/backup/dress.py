"""What belongs to a database itself, which no dump holds: given to another one."""

import psycopg
from psycopg import sql

from ..errors import Refused

OF_ITS_OWN = """
select d.datconnlimit, pg_catalog.pg_get_userbyid(d.datdba), d.datacl is not null,
       pg_catalog.shobj_description(d.oid, 'pg_database')
from pg_catalog.pg_database d where d.datname = %s
"""
CONFIGURED = """
select coalesce(r.rolname, ''), pg_catalog.unnest(s.setconfig)
from pg_catalog.pg_db_role_setting s join pg_catalog.pg_database d on d.oid = s.setdatabase
left join pg_catalog.pg_roles r on r.oid = s.setrole
where d.datname = %s order by 1, 2
"""
GRANTS = """
select coalesce(r.rolname, 'public'), a.grantee = 0, a.privilege_type, a.is_grantable
from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
left join pg_catalog.pg_roles r on r.oid = a.grantee
where d.datname = %s and a.grantee <> d.datdba order by 1, 3
"""
# Lists, quoted by the server itself as they were written.
LISTS = frozenset(
    {"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"}
)


def statements(connection: psycopg.Connection, name: str, other: str) -> tuple[sql.Composable, ...]:
    """Return what gives a database's owner, limit, comment, settings and grants to another one.

    Raises:
        Refused: there is no such database.

    """
    row = connection.execute(OF_ITS_OWN, (name,)).fetchone()
    if row is None:
        raise Refused(
            f"the database {name} to swap with does not exist",
            next_step="write the live database's own address into database:",
        )
    limit, owner, has_grants, comment = row
    target = sql.Identifier(other)
    return (
        sql.SQL("alter database {} owner to {}").format(target, sql.Identifier(owner)),
        sql.SQL("alter database {} connection limit {}").format(target, limit),
        sql.SQL("comment on database {} is {}").format(target, sql.Literal(comment)),
        *_settings(connection, name, target),
        *(_grants(connection, name, target) if has_grants else ()),
    )


def _settings(
    connection: psycopg.Connection, name: str, target: sql.Identifier
) -> list[sql.Composable]:
    settings: list[sql.Composable] = []
    for role, setting in connection.execute(CONFIGURED, (name,)).fetchall():
        key, _, value = setting.partition("=")
        of = sql.SQL("role {} in database {}").format(sql.Identifier(role), target)
        whom = of if role else sql.SQL("database {}").format(target)
        written = sql.SQL(value) if key in LISTS else sql.Literal(value)
        settings.append(
            sql.SQL("alter {} set {} to {}").format(whom, sql.Identifier(*key.split(".")), written)
        )
    return settings


def _grants(
    connection: psycopg.Connection, name: str, target: sql.Identifier
) -> list[sql.Composable]:
    grants: list[sql.Composable] = [sql.SQL("revoke all on database {} from public").format(target)]
    for role, public, privilege, grantable in connection.execute(GRANTS, (name,)).fetchall():
        grants.append(
            sql.SQL("grant {} on database {} to {}{}").format(
                sql.SQL(privilege),
                target,
                sql.SQL("public") if public else sql.Identifier(role),
                sql.SQL(" with grant option" if grantable else ""),
            )
        )
    return grants
