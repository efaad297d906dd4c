"""What to write instead of a statement that builds or drops an index, with its own names. Pure."""

import re

from ..parser import tree
from ..parser.tree import Node
from . import names
from .altered import named
from .catalog import Key
from .forward import index_name
from .parts import (
    NOTHING_TO_UNDO,
    alter_with,
    concurrently,
    constraint_name,
    constraint_of,
    short,
    valid_index,
)
from .quoting import alter, literal, quoted, shown_key
from .rewrites import not_null_scripts
from .rule import Script, Subject

OF_WHAT = re.compile(r"^(REINDEX (?:\([^)]*\) )?(?:INDEX|TABLE|SCHEMA|DATABASE))\b")


def index(subject: Subject) -> tuple[Script, ...]:
    """Return CREATE INDEX CONCURRENTLY; for each partition where the table has some."""
    node, catalog = subject.step.statement.node, subject.step.before
    key = names.key_of(node.relation, catalog)
    name = index_name(key[1], node)
    table = catalog.tables.get(key)
    if table is not None and table.kind == "p":
        return _partitioned_index(subject, key, name)
    return (_built(node, key, name),)


def _built(node: Node, key: Key, name: str) -> Script:
    created = type(node)()
    created.CopyFrom(node)
    created.concurrent, created.idxname = True, name
    created.if_not_exists = False
    created.relation.schemaname, created.relation.relname = key
    created.relation.inh = True
    return Script(
        f"{name}",
        (tree.sql("index_stmt", created),),
        (f"DROP INDEX CONCURRENTLY {shown_key((key[0], name))}",),
        (valid_index((key[0], name)),),
    )


def _partitioned_index(subject: Subject, key: Key, name: str) -> tuple[Script, ...]:
    """ON ONLY the parent, which is not valid until each partition has one that is attached."""
    node, catalog = subject.step.statement.node, subject.step.before
    partitions = catalog.children(key)
    if any(catalog.tables[child].kind == "p" for child in partitions):
        return ()
    parent = type(node)()
    parent.CopyFrom(node)
    parent.concurrent, parent.idxname, parent.relation.inh = False, name, False
    parent.relation.schemaname, parent.relation.relname = key
    of_parent = shown_key((key[0], name))
    scripts = [Script(name, (tree.sql("index_stmt", parent),), (f"DROP INDEX {of_parent}",), ())]
    attached = []
    for child in partitions:
        own = short(f"{child[1]}_{name}")
        scripts.append(_built(node, child, own))
        attached.append(f"ALTER INDEX {of_parent} ATTACH PARTITION {shown_key((child[0], own))}")
    if attached:
        # An index that is attached cannot be dropped alone; its parent's goes with it.
        undone = tuple(s._replace(rollback=NOTHING_TO_UNDO) for s in scripts[1:])
        scripts = [
            scripts[0]._replace(rollback=(f"DROP INDEX IF EXISTS {of_parent}",)),
            *undone,
            Script(
                "attach",
                tuple(attached),
                (f"DROP INDEX {of_parent}",),
                (valid_index((key[0], name)),),
            ),
        ]
    return tuple(scripts)


def drop_index(subject: Subject) -> tuple[Script, ...]:
    """Return DROP INDEX CONCURRENTLY, each in a file of its own."""
    node, catalog = subject.step.statement.node, subject.step.before
    scripts = []
    for item in node.objects:
        parts = names.texts(item.list.items)
        schema, name = (parts[-2] if len(parts) > 1 else ""), parts[-1]
        owner = catalog.index(schema, name)
        if owner is not None and catalog.tables[owner].kind == "p":
            return ()  # the server refuses it
        definition = "" if owner is None else catalog.tables[owner].indexes[name].definition
        home = owner[0] if owner is not None else schema or catalog.home
        optional = "IF EXISTS " if node.missing_ok else ""
        scripts.append(
            Script(
                f"drop_{name}",
                (f"DROP INDEX CONCURRENTLY {optional}{shown_key((home, name))}",),
                (concurrently(definition),) if definition else None,
                (f"SELECT pg_catalog.to_regclass({literal(shown_key((home, name)))}) IS NULL",),
            )
        )
    return tuple(scripts)


def reindex(subject: Subject) -> tuple[Script, ...]:
    """Return REINDEX … CONCURRENTLY; the word is behind INDEX or TABLE, where 13 takes it too."""
    text = tree.sql("reindex_stmt", subject.step.statement.node)
    return (Script("reindex", (OF_WHAT.sub(r"\1 CONCURRENTLY", text, count=1),), NOTHING_TO_UNDO),)


def by_index(subject: Subject) -> tuple[Script, ...]:
    """Return CREATE UNIQUE INDEX CONCURRENTLY, and the constraint that takes it over."""
    key, constraint = constraint_of(subject)
    catalog = subject.step.before
    table = catalog.tables.get(key)
    if table is None or table.kind == "p" or constraint.nulls_not_distinct:
        return ()
    columns, primary = names.texts(constraint.keys), names.contype(constraint) == "CONSTR_PRIMARY"
    if not columns:
        return ()
    name = constraint_name(key, table, constraint)
    shown = ", ".join(map(quoted, columns))
    including = ", ".join(map(quoted, names.texts(constraint.including)))
    include = f" INCLUDE ({including})" if including else ""
    word = "PRIMARY KEY" if primary else "UNIQUE"
    scripts: list[Script] = []
    if primary:
        for column in columns:
            scripts += not_null_scripts(subject, key, column)
    scripts += [
        Script(
            f"build_{name}",
            (
                f"CREATE UNIQUE INDEX CONCURRENTLY {quoted(name)} ON {shown_key(key)} "
                f"({shown}){include}",
            ),
            (f"DROP INDEX CONCURRENTLY IF EXISTS {shown_key((key[0], name))}",),
            (valid_index((key[0], name)),),
        ),
        Script(
            f"add_{name}",
            (
                alter(
                    key,
                    f"ADD CONSTRAINT {quoted(name)} {word} USING INDEX {quoted(name)}"
                    f"{_deferred(constraint)}",
                ),
            ),
            (alter(key, f"DROP CONSTRAINT {quoted(name)}"),),
        ),
    ]
    return tuple(scripts)


def _deferred(constraint: Node) -> str:
    deferrable = " DEFERRABLE" if constraint.deferrable else ""
    return deferrable + (" INITIALLY DEFERRED" if constraint.initdeferred else "")


def primary_key(subject: Subject) -> tuple[Script, ...]:
    """Return what makes the columns NOT NULL, and then the statement as it stands."""
    key, constraint = constraint_of(subject)
    table = subject.step.before.tables.get(key)
    index_ = table.indexes.get(str(constraint.indexname)) if table is not None else None
    if index_ is None:
        return ()
    scripts = [
        script for column in index_.columns for script in not_null_scripts(subject, key, column)
    ]
    name = str(constraint.conname) or str(constraint.indexname)
    added = Script(
        f"add_{name}",
        (alter_with(subject, subject.cmd),),
        (alter(key, f"DROP CONSTRAINT {quoted(name)}"), index_.definition),
    )
    return (*scripts, added)


def referring_index(subject: Subject) -> tuple[Script, ...]:
    """Return an index of the columns, and then the statement as it stands."""
    key, constraint = constraint_of(subject)
    table = subject.step.before.tables.get(key)
    if table is None or table.kind == "p" or subject.cmd is None:
        return ()
    columns = names.texts(constraint.fk_attrs)
    name = short(named(key[1], columns, "idx"))
    shown = ", ".join(map(quoted, columns))
    return (
        Script(
            name,
            (f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {shown_key(key)} ({shown})",),
            (f"DROP INDEX CONCURRENTLY {shown_key((key[0], name))}",),
            (valid_index((key[0], name)),),
        ),
    )


def refresh(subject: Subject) -> tuple[Script, ...]:
    """Return REFRESH … CONCURRENTLY where the view has the unique index that it needs."""
    node, catalog = subject.step.statement.node, subject.step.before
    view = catalog.tables.get(names.key_of(node.relation, catalog))
    if view is None or node.skip_data:
        return ()
    if not any(i.unique and i.whole and i.valid for i in view.indexes.values()):
        return ()
    changed = type(node)()
    changed.CopyFrom(node)
    changed.concurrent = True
    return (Script("refresh", (tree.sql("refresh_mat_view_stmt", changed),), NOTHING_TO_UNDO),)
