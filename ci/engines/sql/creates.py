"""What pending files create and which of it already exists, by name, in one query.

By name alone: `rehearsal.existing` compares the definitions. Functions are left out, because they
may be overloaded, and so is what a DO block creates.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import psycopg
from postgast import pg_query_pb2

from ...model import Unrecorded
from ...parser import tree
from ...parser.file import SqlFile
from ...parser.split import Statement
from ...parser.tree import Node
from .if_not_exists import quoted

Place = Literal["relation", "index", "type", "schema", "column", "constraint", "value"]

# In the search_path of the migrations, where others may have operators of their own: a
# comparison of two equal types is the server's. `owner` is the table or type that the thing is
# part of.
EXISTING = """
    with wanted as (
        select * from unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[],
                             %s::bool[]) as w (n, place, schema, owner, name, valid)
    ), named as (
        select w.*, coalesce(
            (select n.nspname from pg_catalog.pg_class c
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where w.place = 'index' and c.oid = pg_catalog.to_regclass(w.owner)::pg_catalog.oid),
            nullif(w.schema, ''), pg_catalog.current_schema()) as nsp
        from wanted w
    )
    select n from named w where case w.place
        when 'schema' then exists (
            select from pg_catalog.pg_namespace where nspname = w.name)
        when 'column' then exists (
            select from pg_catalog.pg_attribute
            where attrelid = pg_catalog.to_regclass(w.owner)::pg_catalog.oid and attname = w.name
              and attnum > 0 and not attisdropped)
        when 'constraint' then exists (
            select from pg_catalog.pg_constraint
            where conrelid = pg_catalog.to_regclass(w.owner)::pg_catalog.oid and conname = w.name)
        when 'value' then exists (
            select from pg_catalog.pg_enum
            where enumtypid = pg_catalog.to_regtype(w.owner)::pg_catalog.oid and enumlabel = w.name)
        when 'type' then exists (
            select from pg_catalog.pg_type t
            join pg_catalog.pg_namespace s on s.oid = t.typnamespace
            where s.nspname = w.nsp and t.typname = w.name)
        else exists (
            select from pg_catalog.pg_class c
            join pg_catalog.pg_namespace s on s.oid = c.relnamespace
            left join pg_catalog.pg_index i on i.indexrelid = c.oid
            where s.nspname = w.nsp and c.relname = w.name
              and (coalesce(i.indisvalid, true) or not w.valid))
        end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedObject:
    """One thing that a file would create."""

    what: str  # for people: "table"
    place: Place  # where the catalog has it
    name: str
    schema: str = ""  # empty: the first one of the search_path
    owner: str = ""  # the table or type it is part of, as the server reads it
    optional: bool = False  # IF NOT EXISTS
    valid: bool = False  # only a valid one is in the way: a concurrent build drops another

    def __str__(self) -> str:
        """Return it for people."""
        if self.place in ("column", "constraint"):
            return f"{self.what} {plainly(self.owner)}.{self.name}"
        if self.place == "value":
            return f"{self.what} '{self.name}' of {plainly(self.owner)}"
        return f"{self.what} {f'{self.schema}.' if self.schema else ''}{self.name}"


@dataclass
class Gone:
    """What was dropped, moved or renamed by the statements so far, by bare names: out of the way.

    A temporary table hides what has its name. `home` is the first schema of the search_path.
    """

    home: str
    names: set[str] = field(default_factory=set)
    parts: set[tuple[str, str]] = field(default_factory=set)  # (table, column or constraint)

    def covers(self, item: CreatedObject) -> bool:
        """Tell whether an object would be new, because what had its name is gone."""
        owner = plainly(item.owner).rpartition(".")[2]
        names = {item.name, item.schema or self.home, owner}
        return bool(names & self.names) or (owner, item.name) in self.parts

    def note(self, statement: Statement) -> None:
        """Remember what a statement drops or renames."""
        node = statement.node
        if statement.kind == "drop_stmt":
            self.names |= {name for item in node.objects for name in _name_in_drop(item)}
        elif statement.kind == "rename_stmt":
            table, part = str(node.relation.relname), str(node.subname)
            if part:
                self.parts.add((table, part))
            self.names |= {name for name in (_renamed(node), "" if part else table) if name}
        elif statement.kind == "alter_table_stmt":
            table = str(node.relation.relname)
            kinds = ("AT_DropColumn", "AT_DropConstraint")
            cmds = [cmd for cmd in tree.commands(node) if tree.subtype(cmd) in kinds]
            self.parts |= {(table, str(cmd.name)) for cmd in cmds}
            self.names |= {str(cmd.name) for cmd in cmds if tree.subtype(cmd) == kinds[1]}
        elif statement.kind == "alter_object_schema_stmt" or _is_temporary(statement):
            self.names.add(str(node.relation.relname))


def plainly(name: str) -> str:
    """Return a quoted name without its quotes, for people."""
    return name.replace('"', "")


def created_objects(file: SqlFile, gone: Gone) -> tuple[CreatedObject, ...]:
    """Return what a file creates; `gone` is what files before it dropped, and is added to.

    Behind a statement that sets the search_path the schema of a name is not known: the rest is
    left out.
    """
    objects: list[CreatedObject] = []
    for statement in file.statements:
        if statement.kind == "variable_set_stmt" and statement.node.name == "search_path":
            break
        gone.note(statement)
        objects += [item for item in _objects_of(statement) if not gone.covers(item)]
    return tuple(objects)


def find_untracked(
    files: Mapping[str, SqlFile], schema: str, connection: psycopg.Connection
) -> tuple[Unrecorded, ...]:
    """Return those of the files, by migration, of whose objects some already exist by name.

    `schema` is the first of the search_path, which the connection has.
    """
    gone = Gone(schema)
    created = {name: created_objects(file, gone) for name, file in files.items()}
    existing = existing_objects(connection, (item for items in created.values() for item in items))
    results = []
    for name, items in created.items():
        present = [item for item in items if item in existing]
        failing = [item for item in present if not item.optional]
        if failing or (present and len(present) == len(items)):
            objects = tuple(dict.fromkeys(str(item) for item in failing or present))
            results.append(Unrecorded(migration=name, objects=objects, fails=bool(failing)))
    return tuple(results)


def existing_objects(
    connection: psycopg.Connection, wanted: Iterable[CreatedObject]
) -> frozenset[CreatedObject]:
    """Return which of them exist; in the search_path of the connection."""
    items = list(wanted)
    values = (
        list(range(len(items))),
        [item.place for item in items],
        [item.schema for item in items],
        [item.owner for item in items],
        [item.name for item in items],
        [item.valid for item in items],
    )
    return frozenset(items[n] for (n,) in connection.execute(EXISTING.encode(), values).fetchall())


def _objects_of(statement: Statement) -> Iterator[CreatedObject]:
    kind, node = statement.kind, statement.node
    if kind in ("create_stmt", "create_seq_stmt", "view_stmt", "create_table_as_stmt"):
        yield from _relation(kind, node)
    elif kind == "index_stmt" and node.idxname:
        yield CreatedObject(
            what="index",
            place="index",
            name=node.idxname,
            schema=node.relation.schemaname,
            owner=quoted(node.relation),
            optional=node.if_not_exists,
            valid=node.concurrent,
        )
    elif kind == "alter_table_stmt":
        yield from _parts(node)
    elif kind == "alter_enum_stmt" and node.new_val and not node.old_val:
        parts = ".".join('"' + part.string.sval.replace('"', '""') + '"' for part in node.type_name)
        yield CreatedObject(
            what="enum value",
            place="value",
            name=node.new_val,
            owner=parts,
            optional=node.skip_if_new_val_exists,
        )
    elif kind == "create_schema_stmt" and node.schemaname:
        yield CreatedObject(
            what="schema", place="schema", name=node.schemaname, optional=node.if_not_exists
        )
    else:
        yield from _type(kind, node)


def _relation(kind: str, node: Node) -> Iterator[CreatedObject]:
    words = {
        "create_stmt": "table",
        "create_seq_stmt": "sequence",
        "view_stmt": "view",
        "create_table_as_stmt": "table",
    }
    matview = pg_query_pb2.ObjectType.OBJECT_MATVIEW
    if kind == "view_stmt":
        relation, optional = node.view, False
    elif kind == "create_table_as_stmt":
        relation, optional = node.into.rel, node.if_not_exists
    else:
        relation = node.relation if kind == "create_stmt" else node.sequence
        optional = node.if_not_exists
    if relation.relpersistence == "t" or (kind == "view_stmt" and node.replace):
        return
    is_view = kind == "create_table_as_stmt" and node.objtype == matview
    yield CreatedObject(
        what="materialized view" if is_view else words[kind],
        place="relation",
        name=relation.relname,
        schema=relation.schemaname,
        optional=optional,
    )


def _parts(node: Node) -> Iterator[CreatedObject]:
    """Yield the columns and the named constraints that an ALTER TABLE adds."""
    owner = quoted(node.relation)
    for cmd in tree.commands(node):
        added = getattr(cmd, "def")
        if tree.subtype(cmd) == "AT_AddColumn":
            yield CreatedObject(
                what="column",
                place="column",
                name=added.column_def.colname,
                owner=owner,
                optional=cmd.missing_ok,
            )
        elif tree.subtype(cmd) == "AT_AddConstraint" and added.constraint.conname:
            name = added.constraint.conname
            yield CreatedObject(what="constraint", place="constraint", name=name, owner=owner)


def _type(kind: str, node: Node) -> Iterator[CreatedObject]:
    if kind == "composite_type_stmt":
        names = [node.typevar.schemaname, node.typevar.relname]
    elif kind in ("create_enum_stmt", "create_range_stmt"):
        names = [part.string.sval for part in node.type_name]
    elif kind == "create_domain_stmt":
        names = [part.string.sval for part in node.domainname]
    else:
        return
    schema = names[-2] if len(names) > 1 else ""
    yield CreatedObject(what="type", place="type", name=names[-1], schema=schema)


def _is_temporary(statement: Statement) -> bool:
    is_table = statement.kind == "create_stmt"
    return is_table and bool(statement.node.relation.relpersistence == "t")


def _name_in_drop(item: Node) -> Iterator[str]:
    """Yield the bare name of what a DROP names: a relation, a type, a schema."""
    kind = item.WhichOneof("node")
    if kind == "list":
        yield str(item.list.items[-1].string.sval)
    elif kind == "type_name":
        yield str(item.type_name.names[-1].string.sval)
    elif kind == "string":
        yield str(item.string.sval)


def _renamed(node: Node) -> str:
    """Return the old name of a type or schema that is renamed; empty for other things."""
    if node.HasField("object") and node.object.WhichOneof("node") == "list":
        return str(node.object.list.items[-1].string.sval)
    schema = pg_query_pb2.ObjectType.OBJECT_SCHEMA
    return str(node.subname) if node.rename_type == schema else ""
