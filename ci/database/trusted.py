"""Whether a table of ours may be believed: who owns it, and whether it runs code of somebody else.

The application's role may create in `public`, and in the database where it owns that. A table of
our name that it made first would run its trigger, rule or function as who deploys. So a table is
looked at before it is read or written. One that is absent is an empty history and is not touched;
one that is trusted stays so: only its owner changes it.
"""

from collections.abc import Iterable

import psycopg

from ..errors import Refused
from .ownership import Looked, reason, remedy
from .pinned import PinnedConnection

SCHEMA = "windlass"

# One row for each of the relations that exist, whatever they are. Catalogs alone, all qualified.
# An owner is trusted who is the deployer, a superuser, or named; so is a role without a login that
# the deployer is a member of, where no other login is: a group that owns what is migrated.
LOOK = """
    with wanted as (
        select c.oid, n.nspname, c.relname, c.relkind, c.relowner, c.relrowsecurity
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = %(schema)s and c.relkind not in ('i', 'I', 't')
          and (%(tables)s::pg_catalog.text[] is null and c.relkind <> 'S'
               or c.relname = any (%(tables)s::pg_catalog.text[]))
    ), part as (
        select oid, 'pg_catalog.pg_class'::pg_catalog.regclass as class, oid as id from wanted
        union all
        select i.indrelid, 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid
        from pg_catalog.pg_index i join wanted w on w.oid = i.indrelid
        union all
        select d.adrelid, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid
        from pg_catalog.pg_attrdef d join wanted w on w.oid = d.adrelid
        union all
        select k.conrelid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid
        from pg_catalog.pg_constraint k join wanted w on w.oid = k.conrelid
    )
    select w.nspname::pg_catalog.text, w.relname::pg_catalog.text, w.relkind::pg_catalog.text,
           o.rolname::pg_catalog.text,
           o.rolsuper, o.rolname = current_user, o.rolcanlogin,
           pg_catalog.pg_has_role(o.oid, 'MEMBER'),
           array(select m.rolname::pg_catalog.text from pg_catalog.pg_roles m
                 where m.rolcanlogin and not m.rolsuper and m.oid <> o.oid
                   and pg_catalog.pg_has_role(m.oid, o.oid, 'MEMBER') order by 1),
           array(select 'the trigger ' || pg_catalog.quote_ident(t.tgname)
                 from pg_catalog.pg_trigger t where t.tgrelid = w.oid and not t.tgisinternal
                 union all
                 select 'the rule ' || pg_catalog.quote_ident(r.rulename)
                 from pg_catalog.pg_rewrite r where r.ev_class = w.oid and w.relkind = 'r'
                 union all
                 select 'the policy ' || pg_catalog.quote_ident(p.polname)
                 from pg_catalog.pg_policy p where p.polrelid = w.oid
                 union all
                 select 'row security' where w.relrowsecurity
                 union all
                 select 'a parent or child table' where exists (
                     select from pg_catalog.pg_inherits i
                     where i.inhparent = w.oid or i.inhrelid = w.oid)
                 union all
                 select pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
                 from part p join pg_catalog.pg_depend d
                   on d.classid = p.class::pg_catalog.oid and d.objid = p.id
                 where p.oid = w.oid and d.refobjid::pg_catalog.int8 >= 16384::pg_catalog.int8
                   and d.refclassid in (
                       'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid,
                       'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid,
                       'pg_catalog.pg_opclass'::pg_catalog.regclass::pg_catalog.oid,
                       'pg_catalog.pg_opfamily'::pg_catalog.regclass::pg_catalog.oid,
                       'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid)
                 union all
                 select 'the foreign key ' || pg_catalog.quote_ident(k.conname)
                 from pg_catalog.pg_constraint k
                 join pg_catalog.pg_class a on a.oid = k.conrelid
                 join pg_catalog.pg_class b on b.oid = k.confrelid
                 where k.contype = 'f' and (k.conrelid = w.oid or k.confrelid = w.oid)
                   and a.relowner <> b.relowner)
    from wanted w join pg_catalog.pg_roles o on o.oid = w.relowner
    union all
    select '', n.nspname::pg_catalog.text, 'n', o.rolname::pg_catalog.text,
           o.rolsuper, o.rolname = current_user, o.rolcanlogin,
           pg_catalog.pg_has_role(o.oid, 'MEMBER'),
           array(select m.rolname::pg_catalog.text from pg_catalog.pg_roles m
                 where m.rolcanlogin and not m.rolsuper and m.oid <> o.oid
                   and pg_catalog.pg_has_role(m.oid, o.oid, 'MEMBER') order by 1),
           array[]::pg_catalog.text[]
    from pg_catalog.pg_namespace n join pg_catalog.pg_roles o on o.oid = n.nspowner
    where n.nspname = %(schema)s and n.nspname = 'windlass'
    order by 1, 2
"""

# What a look would find, in a tenth of its time: where nothing is there, nothing is looked at.
THERE = """
    select c.relname::pg_catalog.text
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %(schema)s and c.relname = any (%(tables)s::pg_catalog.text[])
      and c.relkind not in ('i', 'I', 't')
    union all
    select '' from pg_catalog.pg_namespace where nspname = %(schema)s and nspname = 'windlass'
"""


def exists(connection: psycopg.Connection, *tables: str, schema: str = SCHEMA) -> bool:
    """Tell whether all of these tables are there; in a transaction of the caller's or alone.

    Of our own schema the first question of a session looks at every table.

    Raises:
        Refused: one of them, or the schema of ours, is not to be believed; nothing was read of it.

    """
    pinned = connection if isinstance(connection, PinnedConnection) else None
    believed = pinned.believed if pinned is not None else set[tuple[str, str]]()
    wanted = {(schema, table) for table in tables}
    if wanted <= believed:
        return True
    values = {"schema": schema, "tables": list(tables)}
    there = {(schema, name) for (name,) in connection.execute(THERE.encode(), values).fetchall()}
    if there <= believed:
        return False
    looked = look(connection, None if schema == SCHEMA else tables, schema)
    owners = pinned.owners if pinned is not None else ()
    for table in looked:
        name = (schema, "" if table.kind == "n" else table.name)
        why = reason(table, connection.info.user, owners)
        if not why:
            believed.add(name)
        elif name in there:
            raise Refused(why, next_step=remedy(table, connection.info.user))
    return believed >= wanted


def look_again(connection: psycopg.Connection) -> None:
    """Forget what was believed in this session: what is not ours has run in it since."""
    if isinstance(connection, PinnedConnection):
        connection.believed.clear()


def look(
    connection: psycopg.Connection, tables: Iterable[str] | None, schema: str = SCHEMA
) -> tuple[Looked, ...]:
    """Return what these tables are, and the schema where it is ours. Reads catalogs alone.

    `tables` None stands for all that the schema has.
    """
    values = {"schema": schema, "tables": None if tables is None else list(tables)}
    return tuple(
        Looked(
            schema=row[0],
            name=row[1],
            kind=row[2],
            owner=row[3],
            superuser=row[4],
            ours=row[5],
            login=row[6],
            member=row[7],
            logins=tuple(row[8]),
            carries=tuple(row[9]),
        )
        for row in connection.execute(LOOK.encode(), values).fetchall()
    )
