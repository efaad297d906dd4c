"""What to write instead of a statement that reads every row, with its own names. Pure.

A test executes each on a server, undoes it, and lints it.
"""

from ..parser import tree
from ..parser.tree import Node
from . import names
from .altered import named
from .catalog import CatalogTable, Key
from .parts import (
    NOT_NULL,
    about,
    alter_with,
    constraint_name,
    constraint_of,
    constraint_text,
    is_partition,
    short,
    validated,
)
from .quoting import alter, quoted, shown_key
from .rule import Script, Subject


def detach(subject: Subject) -> tuple[Script, ...]:
    """Return DETACH PARTITION CONCURRENTLY; nothing where the server refuses that."""
    catalog, cmd = subject.step.before, subject.cmd
    parent = names.key_of(subject.step.statement.node.relation, catalog)
    child = names.key_of(getattr(cmd, "def").partition_cmd.name, catalog)
    default = any(catalog.tables[key].bound == "DEFAULT" for key in catalog.children(parent))
    if default or 0 < catalog.major < 14 or child not in catalog.tables:
        return ()
    bound = catalog.tables[child].bound
    return (
        Script(
            f"detach_{child[1]}",
            (alter(parent, f"DETACH PARTITION {shown_key(child)} CONCURRENTLY"),),
            (alter(parent, f"ATTACH PARTITION {shown_key(child)} {bound}"),) if bound else None,
            (f"SELECT NOT ({is_partition(child)})",),
        ),
    )


def not_valid(subject: Subject) -> tuple[Script, ...]:
    """Return ADD CONSTRAINT … NOT VALID, and its VALIDATE in a file of its own."""
    if tree.subtype(subject.cmd) != "AT_AddConstraint":
        return ()
    key, constraint = constraint_of(subject)
    catalog = subject.step.before
    kind = names.contype(constraint)
    table = catalog.tables.get(key)
    foreign = kind == "CONSTR_FOREIGN"
    if foreign and table is not None and table.kind == "p" and catalog.major < 18:
        return ()  # the server refuses NOT VALID there
    name = constraint_name(key, table, constraint)
    added = type(constraint)()
    added.CopyFrom(constraint)
    added.conname, added.skip_validation, added.initially_valid = name, True, False
    return validated(key, name, constraint_text(key, added))


def column_check(subject: Subject) -> tuple[Script, ...]:
    """Return ADD COLUMN without its CHECK, which comes NOT VALID, and is validated."""
    catalog, cmd = subject.step.before, subject.cmd
    key = names.key_of(subject.step.statement.node.relation, catalog)
    plain = type(cmd)()
    plain.CopyFrom(cmd)
    definition = getattr(plain, "def").column_def
    checks = [c for c in definition.constraints if names.contype(c.constraint) == "CONSTR_CHECK"]
    rest = [c for c in definition.constraints if c not in checks]
    del definition.constraints[:]
    definition.constraints.extend(rest)
    column = str(definition.colname)
    scripts = [
        Script(
            f"add_{column}",
            (alter_with(subject, plain),),
            (alter(key, f"DROP COLUMN {quoted(column)}"),),
        )
    ]
    for item in checks:
        added = type(item.constraint)()
        added.CopyFrom(item.constraint)
        name = str(added.conname) or short(named(key[1], (column,), "check"))
        added.conname, added.skip_validation, added.initially_valid = name, True, False
        scripts += validated(key, name, constraint_text(key, added))
    return tuple(scripts)


def not_null(subject: Subject) -> tuple[Script, ...]:
    """Return CHECK NOT VALID, VALIDATE, then SET NOT NULL with the CHECK gone."""
    key = names.key_of(subject.step.statement.node.relation, subject.step.before)
    constraint = getattr(subject.cmd, "def").constraint
    column = str(subject.cmd.name) or names.texts(constraint.keys)[0]
    return tuple(not_null_scripts(subject, key, column))


def not_null_scripts(subject: Subject, key: Key, column: str) -> list[Script]:
    """Return what makes a column NOT NULL; nothing where it is that already."""
    table = subject.step.before.tables.get(key)
    if table is not None and column in table.columns and table.columns[column].not_null:
        return []
    half = next(
        (
            item
            for item in (table.constraints if table is not None else ())
            if item.kind == "not null" and item.columns == (column,)
        ),
        None,
    )
    if half is not None:  # since 18: NOT NULL NOT VALID is there, and lacks its VALIDATE alone
        return [validated(key, half.name, "")[1]]
    name = short(named(key[1], (column,), "not_null"))
    scripts = validated(
        key, name, f"ADD CONSTRAINT {quoted(name)} CHECK ({quoted(column)} IS NOT NULL) NOT VALID"
    )
    kept = f"ADD CONSTRAINT {quoted(name)} CHECK ({quoted(column)} IS NOT NULL) NOT VALID"
    return [
        *scripts,
        Script(
            f"set_{column}_not_null",
            (
                alter(key, f"ALTER COLUMN {quoted(column)} SET NOT NULL"),
                alter(key, f"DROP CONSTRAINT {quoted(name)}"),
            ),
            (
                alter(key, f"ALTER COLUMN {quoted(column)} DROP NOT NULL"),
                alter(key, kept),
            ),
            (about(NOT_NULL, key, column),),
        ),
    ]


def attach(subject: Subject) -> tuple[Script, ...]:
    """Return a CHECK of the bound, NOT VALID, then validated, then the ATTACH without it."""
    catalog, cmd = subject.step.before, subject.cmd
    parent = names.key_of(subject.step.statement.node.relation, catalog)
    command = getattr(cmd, "def").partition_cmd
    child, table = names.key_of(command.name, catalog), catalog.tables.get(parent)
    default = any(catalog.tables[key].bound == "DEFAULT" for key in catalog.children(parent))
    condition = None if table is None or default else _bound(table, command.bound)
    if condition is None:
        return ()
    name = short(f"{child[1]}_bound")
    clause = f"ADD CONSTRAINT {quoted(name)} CHECK ({condition}) NOT VALID"
    attached = Script(
        f"attach_{child[1]}",
        (
            alter(parent, f"ATTACH PARTITION {shown_key(child)} {tree.bound(command.bound)}"),
            alter(child, f"DROP CONSTRAINT {quoted(name)}"),
        ),
        (alter(parent, f"DETACH PARTITION {shown_key(child)}"), alter(child, clause)),
        (is_partition(child),),
    )
    return (*validated(child, name, clause), attached)


def _bound(table: CatalogTable, bound: Node) -> str | None:
    """Return the condition of a partition over one column; None where it is of another kind."""
    by = table.partitioning
    if by is None or bound.is_default or len(by.columns) != 1 or not by.columns[0]:
        return None
    column = quoted(by.columns[0])
    parts = [f"{column} IS NOT NULL"]
    if by.strategy == "l":
        values = [tree.expression(item) for item in bound.listdatums]
        if "NULL" in (value.upper() for value in values):
            return None
        parts.append(f"{column} IN ({', '.join(values)})")
    elif by.strategy == "r":
        for word, data in ((">=", bound.lowerdatums), ("<", bound.upperdatums)):
            if data[0].WhichOneof("node") != "column_ref":  # MINVALUE, MAXVALUE
                parts.append(f"{column} {word} {tree.expression(data[0])}")
    else:
        return None
    return " AND ".join(parts)


def partition(subject: Subject) -> tuple[Script, ...]:
    """Return CREATE TABLE … LIKE and ATTACH PARTITION, which locks the parent less."""
    node, catalog = subject.step.statement.node, subject.step.before
    parent = names.key_of(node.inh_relations[0].range_var, catalog)
    child = names.new_key(node.relation, catalog)
    if node.table_elts or node.HasField("partspec") or node.if_not_exists:
        return ()
    shown = shown_key(child)
    return (
        Script(
            f"create_{child[1]}",
            (f"CREATE TABLE {shown} (LIKE {shown_key(parent)} INCLUDING ALL)",),
            (f"DROP TABLE {shown}",),
        ),
        Script(
            f"attach_{child[1]}",
            (alter(parent, f"ATTACH PARTITION {shown} {tree.bound(node.partbound)}"),),
            (alter(parent, f"DETACH PARTITION {shown}"),),
            (is_partition(child),),
        ),
    )
