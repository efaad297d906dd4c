"""The catalog as statements will have changed it: catalog and statement give a catalog. Pure.

What a DO block, a function or dynamic SQL does is not seen.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from postgast import pg_query_pb2

from ..parser import tree
from ..parser.file import SqlFile
from ..parser.split import Statement
from ..parser.tree import Node
from . import names
from .altered import altered, constrained, named, put
from .catalog import (
    Catalog,
    CatalogColumn,
    CatalogIndex,
    CatalogTable,
    Domain,
    Function,
    Key,
    Partitioning,
)
from .renamed import moved, renamed

# LIKE … INCLUDING, nodes/parsenodes.h: TableLikeOption.
LIKE_CONSTRAINTS, LIKE_INDEXES = 1 << 2, 1 << 6
STRATEGIES = {
    "PARTITION_STRATEGY_RANGE": "r",
    "PARTITION_STRATEGY_LIST": "l",
    "PARTITION_STRATEGY_HASH": "h",
}
OF_INDEX = {"primary": "pkey", "unique": "key", "exclude": "excl", "": "idx"}  # ends of names
# What a body does beyond reading; one that calls others is taken for one that writes.
WRITES = re.compile(
    r"\b(insert|update|delete|merge|truncate|alter|create|drop|execute|call|perform|copy|lock|grant"
    r"|refresh|setval|notify)\b",
    re.IGNORECASE,
)
READABLE = frozenset({"sql", "plpgsql"})


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a file, with the catalog as it finds it and as it leaves it."""

    file: SqlFile
    number: int  # of the statement in its file, from 0
    statement: Statement
    before: Catalog
    after: Catalog


def steps(files: Iterable[SqlFile], catalog: Catalog) -> Iterator[Step]:
    """Yield every statement of files in running order, each on what those before it leave.

    Each file begins with the session as it was. Without a database it is not known which files
    are of one deployment: there a table counts as made in the file that makes it alone.
    """
    search_path, time_zone = catalog.search_path, catalog.time_zone
    for file in files:
        tables = catalog.tables
        if not catalog.live:
            tables = {
                key: replace(table, made=False, size=-1, rows=-1) if table.made else table
                for key, table in tables.items()
                if key[0] != "pg_temp"
            }
        catalog = replace(catalog, search_path=search_path, time_zone=time_zone, tables=tables)
        for number, statement in enumerate(file.statements):
            after = advance(catalog, statement.kind, statement.node)
            yield Step(file, number, statement, catalog, after)
            catalog = after


def advance(catalog: Catalog, kind: str, node: Node) -> Catalog:
    """Return the catalog behind a statement."""
    return CHANGES[kind](catalog, node) if kind in CHANGES else catalog


def body_writes(language: str, body: str) -> bool:
    """Tell whether a function's body does more than read, or cannot be judged by its text."""
    return language.lower() not in READABLE or WRITES.search(body) is not None


def index_name(table: str, node: Node) -> str:
    """Return the name of an index, its own or as the server would give it."""
    return str(node.idxname) or _default_name(table, node)


def _default_name(table: str, node: Node) -> str:
    columns = tuple(str(item.index_elem.name) or "expr" for item in node.index_params)
    return named(table, columns, "idx")


def _create(catalog: Catalog, node: Node) -> Catalog:
    key = names.new_key(node.relation, catalog)
    if node.if_not_exists and key in catalog.tables:
        return catalog
    parents = tuple(names.key_of(item.range_var, catalog) for item in node.inh_relations)
    table = CatalogTable(
        kind="p" if node.HasField("partspec") else "r",
        parents=parents,
        bound=_bound(node.partbound) if node.HasField("partbound") else "",
        partitioning=_partitioning(node.partspec) if node.HasField("partspec") else None,
        size=0,
        rows=0,
        made=True,  # also IF NOT EXISTS: the catalog does not have it
    )
    for parent in parents:
        table = _inherited(key, table, catalog.tables.get(parent), indexes=bool(table.bound))
    for element in node.table_elts:
        table = _element(catalog, key, table, element)
    return put(catalog, key, table)


def _bound(node: Node) -> str:
    return "DEFAULT" if node.is_default else tree.bound(node)


def _partitioning(node: Node) -> Partitioning:
    strategy = str(pg_query_pb2.PartitionStrategy.Name(node.strategy))
    columns = tuple(str(part.partition_elem.name) for part in node.part_params)
    return Partitioning(STRATEGIES.get(strategy, ""), columns)


def _inherited(
    key: Key, table: CatalogTable, parent: CatalogTable | None, *, indexes: bool
) -> CatalogTable:
    if parent is None:
        return table
    of_index = {c.name: c.kind for c in parent.constraints if c.kind in OF_INDEX}
    renamed_ = {
        name: named(
            key[1], () if of_index.get(name) == "primary" else index.columns, OF_INDEX[kind]
        )
        for name, index in parent.indexes.items()
        for kind in [of_index.get(name, "")]
    }
    copied = tuple(
        replace(c, name=renamed_.get(c.name, c.name))
        for c in parent.constraints
        if c.kind == "check" or indexes
    )
    return replace(
        table,
        columns={**parent.columns, **table.columns},
        constraints=(*table.constraints, *copied),
        indexes={
            **table.indexes,
            **({renamed_[name]: i for name, i in parent.indexes.items()} if indexes else {}),
        },
    )


def _of_partition(table: str, kind: str, columns: tuple[str, ...]) -> str:
    """Return the name of a partition's own index, of a constraint of this kind or of none."""
    return named(table, () if kind == "primary" else columns, OF_INDEX[kind])


def _element(catalog: Catalog, key: Key, table: CatalogTable, element: Node) -> CatalogTable:
    kind = element.WhichOneof("node")
    if kind == "table_like_clause":
        return _like(catalog, table, element.table_like_clause)
    if kind == "constraint":
        return constrained(catalog, key, table, _in_force(element.constraint))
    definition = element.column_def
    name = str(definition.colname)
    column = _column(catalog, table, definition)
    table = replace(table, columns={**table.columns, name: column})
    for item in definition.constraints:
        table = constrained(catalog, key, table, _in_force(item.constraint), name)
    return table


def _column(catalog: Catalog, table: CatalogTable, definition: Node) -> CatalogColumn:
    """Return a column; of PARTITION OF, where no type stands, that of the parent."""
    if definition.HasField("type_name"):
        return names.column_of(definition, catalog)
    column = table.columns.get(str(definition.colname), CatalogColumn(""))
    kinds = {names.contype(item.constraint) for item in definition.constraints}
    return replace(column, not_null=column.not_null or "CONSTR_NOTNULL" in kinds)


def _in_force(node: Node) -> Node:
    """Return a constraint of CREATE TABLE, for which NOT VALID means nothing; NOT ENFORCED does."""
    if not node.skip_validation or not node.is_enforced:
        return node
    copied = type(node)()
    copied.CopyFrom(node)
    copied.skip_validation = False
    return copied


def _like(catalog: Catalog, table: CatalogTable, node: Node) -> CatalogTable:
    source = catalog.tables.get(names.key_of(node.relation, catalog))
    if source is None:
        return table
    checks = tuple(
        replace(item, validated=True) for item in source.constraints if item.kind == "check"
    )
    return replace(
        table,
        columns={**table.columns, **source.columns},
        constraints=(*table.constraints, *(checks if node.options & LIKE_CONSTRAINTS else ())),
        indexes={**table.indexes, **(source.indexes if node.options & LIKE_INDEXES else {})},
    )


def _create_as(catalog: Catalog, node: Node) -> Catalog:
    return _made_by_query(catalog, node.into.rel, node)


def _select(catalog: Catalog, node: Node) -> Catalog:
    if not node.into_clause.HasField("rel"):
        return catalog
    return _made_by_query(catalog, node.into_clause.rel, None)


def _made_by_query(catalog: Catalog, relation: Node, node: Node | None) -> Catalog:
    key, optional = names.new_key(relation, catalog), node is not None and node.if_not_exists
    if optional and key in catalog.tables:
        return catalog
    view = node is not None and node.objtype == pg_query_pb2.ObjectType.OBJECT_MATVIEW
    return put(catalog, key, CatalogTable(kind="m" if view else "r", size=0, rows=0, made=True))


def _index(catalog: Catalog, node: Node) -> Catalog:
    key = names.key_of(node.relation, catalog)
    if key not in catalog.tables:
        return catalog
    name = index_name(key[1], node)
    if name in catalog.tables[key].indexes:
        return catalog
    catalog = _indexed(catalog, key, name, node)
    if catalog.tables[key].kind == "p" and node.relation.inh:
        for child in catalog.family(key)[1:]:
            catalog = _indexed(catalog, child, _default_name(child[1], node), node)
    return catalog


def _indexed(catalog: Catalog, key: Key, name: str, node: Node) -> Catalog:
    table = catalog.tables[key]
    elements = [item.index_elem for item in node.index_params]
    built = CatalogIndex(
        columns=tuple(str(element.name) for element in elements),
        unique=bool(node.unique),
        valid=not (table.kind == "p" and not node.relation.inh),  # ON ONLY, until all are attached
        whole=not node.HasField("where_clause") and all(e.name for e in elements),
        definition=tree.sql("index_stmt", node),
    )
    return put(catalog, key, replace(table, indexes={**table.indexes, name: built}))


def _drop(catalog: Catalog, node: Node) -> Catalog:
    kind = str(pg_query_pb2.ObjectType.Name(node.remove_type))
    for item in node.objects:
        parts = names.texts(item.list.items) or names.texts([item])
        catalog = _dropped(catalog, kind, parts)
    return catalog


def _dropped(catalog: Catalog, kind: str, parts: tuple[str, ...]) -> Catalog:
    schema, name = (parts[-2] if len(parts) > 1 else ""), parts[-1] if parts else ""
    if kind in ("OBJECT_TABLE", "OBJECT_MATVIEW"):
        gone = set(catalog.family(catalog.key(schema, name)))
        return _without(catalog, gone)
    if kind == "OBJECT_SCHEMA":
        return _without(catalog, {key for key in catalog.tables if key[0] == name})
    if kind == "OBJECT_INDEX":
        owner = catalog.index(schema, name)
        if owner is None:
            return catalog
        table = catalog.tables[owner]
        rest = {n: index for n, index in table.indexes.items() if n != name}
        return put(catalog, owner, replace(table, indexes=rest))
    return catalog


def _without(catalog: Catalog, gone: set[Key]) -> Catalog:
    return replace(catalog, tables={k: t for k, t in catalog.tables.items() if k not in gone})


def _domain(catalog: Catalog, node: Node) -> Catalog:
    parts = names.texts(node.domainname)
    key = (parts[-2] if len(parts) > 1 else catalog.home, parts[-1])
    kinds = {names.contype(item.constraint) for item in node.constraints}
    base = names.type_of(node.type_name, catalog)
    domain = Domain(base, bool(kinds & {"CONSTR_CHECK", "CONSTR_NOTNULL"}))
    return replace(catalog, domains={**catalog.domains, key: domain})


def _alter_domain(catalog: Catalog, node: Node) -> Catalog:
    key = catalog.type_key(names.texts(node.type_name), catalog.domains)
    if key is None or node.subtype not in ("O", "C"):
        return catalog
    domain = replace(catalog.domains[key], constrained=True)
    return replace(catalog, domains={**catalog.domains, key: domain})


def _enum(catalog: Catalog, node: Node) -> Catalog:
    parts = names.texts(node.type_name)
    key = (parts[-2] if len(parts) > 1 else catalog.home, parts[-1])
    return replace(catalog, enums={**catalog.enums, key: True})


def _function(catalog: Catalog, node: Node) -> Catalog:
    parts = names.texts(node.funcname)
    key = (parts[-2] if len(parts) > 1 else catalog.home, parts[-1])
    options = {str(item.def_elem.defname): item.def_elem.arg for item in node.options}
    body = " ".join(names.texts(options["as"].list.items)) if "as" in options else ""
    language = str(options["language"].string.sval) if "language" in options else "sql"
    volatile = "volatility" not in options or options["volatility"].string.sval == "volatile"
    function = Function(False, volatile, volatile and body_writes(language, body))
    return replace(catalog, functions={**catalog.functions, key: function})


def _set(catalog: Catalog, node: Node) -> Catalog:
    values = tuple(str(item.a_const.sval.sval) for item in node.args)
    if node.name == "search_path":
        return replace(catalog, search_path=values)
    if node.name == "timezone":
        return replace(catalog, time_zone=values[0] if values else "")
    return catalog


CHANGES: dict[str, Callable[[Catalog, Node], Catalog]] = {
    "create_stmt": _create,
    "create_table_as_stmt": _create_as,
    "select_stmt": _select,
    "alter_table_stmt": altered,
    "index_stmt": _index,
    "drop_stmt": _drop,
    "rename_stmt": renamed,
    "alter_object_schema_stmt": moved,
    "create_domain_stmt": _domain,
    "alter_domain_stmt": _alter_domain,
    "create_enum_stmt": _enum,
    "create_function_stmt": _function,
    "variable_set_stmt": _set,
}
