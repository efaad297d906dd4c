"""What RENAME and SET SCHEMA make of the catalog. Pure."""

from dataclasses import replace

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import ColumnRef

from ..parser import tree
from ..parser.tree import Node
from . import names, proofs
from .catalog import Catalog, CatalogConstraint, CatalogTable, Key


def renamed(catalog: Catalog, node: Node) -> Catalog:
    """Return the catalog behind a RENAME of a table, a column, an index or a constraint."""
    kind, new = str(pg_query_pb2.ObjectType.Name(node.rename_type)), str(node.newname)
    schema, name = str(node.relation.schemaname), str(node.relation.relname)
    if kind in ("OBJECT_TABLE", "OBJECT_MATVIEW"):
        key = catalog.key(schema, name)
        return _re_keyed(catalog, key, (key[0], new))
    if kind == "OBJECT_INDEX":
        owner = catalog.index(schema, name)
        return catalog if owner is None else _index(catalog, owner, name, new)
    if kind not in ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"):
        return catalog
    tables = dict(catalog.tables)
    for key in catalog.family(catalog.key(schema, name)):
        if key in tables:
            change = _column if kind == "OBJECT_COLUMN" else _constraint
            tables[key] = change(tables[key], str(node.subname), new)
    return replace(catalog, tables=tables)


def moved(catalog: Catalog, node: Node) -> Catalog:
    """Return the catalog behind an ALTER TABLE … SET SCHEMA."""
    kind = str(pg_query_pb2.ObjectType.Name(node.object_type))
    if kind not in ("OBJECT_TABLE", "OBJECT_MATVIEW"):
        return catalog
    key = names.key_of(node.relation, catalog)
    return _re_keyed(catalog, key, (str(node.newschema), key[1]))


def _re_keyed(catalog: Catalog, old: Key, new: Key) -> Catalog:
    if old not in catalog.tables:
        return catalog

    def name(key: Key) -> Key:
        return new if key == old else key

    tables = {
        name(key): replace(
            table,
            parents=tuple(map(name, table.parents)),
            constraints=tuple(
                replace(item, refers=name(item.refers)) if item.refers else item
                for item in table.constraints
            ),
        )
        for key, table in catalog.tables.items()
    }
    return replace(catalog, tables=tables)


def _index(catalog: Catalog, owner: Key, old: str, new: str) -> Catalog:
    table = catalog.tables[owner]
    indexes = {new if name == old else name: index for name, index in table.indexes.items()}
    return replace(catalog, tables={**catalog.tables, owner: replace(table, indexes=indexes)})


def _constraint(table: CatalogTable, old: str, new: str) -> CatalogTable:
    return replace(
        table,
        constraints=tuple(
            replace(item, name=new) if item.name == old else item for item in table.constraints
        ),
        indexes={new if name == old else name: index for name, index in table.indexes.items()},
    )


def _column(table: CatalogTable, old: str, new: str) -> CatalogTable:
    def name(column: str) -> str:
        return new if column == old else column

    return replace(
        table,
        columns={name(column): value for column, value in table.columns.items()},
        constraints=tuple(_of_column(item, old, new) for item in table.constraints),
        indexes={
            key: replace(index, columns=tuple(map(name, index.columns)))
            for key, index in table.indexes.items()
        },
    )


def _of_column(item: CatalogConstraint, old: str, new: str) -> CatalogConstraint:
    columns = tuple(new if column == old else column for column in item.columns)
    parsed = proofs.expression(item.expression)
    if parsed is None:
        return replace(item, columns=columns)
    references = [parsed.column_ref] if parsed.WhichOneof("node") == "column_ref" else []
    for reference in (*references, *find_nodes(parsed, ColumnRef)):
        if str(reference.fields[-1].string.sval) == old:
            reference.fields[-1].string.sval = new
    return replace(item, columns=columns, expression=tree.expression(parsed))
