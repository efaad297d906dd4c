"""What ALTER TABLE makes of a table in the catalog, its children and partitions with it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..parser import tree
from ..parser.tree import Node
from . import names, proofs
from .catalog import (
    Catalog,
    CatalogColumn,
    CatalogConstraint,
    CatalogIndex,
    CatalogTable,
    ConstraintKind,
    Key,
)

KINDS: dict[str, ConstraintKind] = {
    "CONSTR_CHECK": "check",
    "CONSTR_FOREIGN": "foreign",
    "CONSTR_UNIQUE": "unique",
    "CONSTR_PRIMARY": "primary",
    "CONSTR_EXCLUSION": "exclude",
    "CONSTR_NOTNULL": "not null",
}
ENDINGS = {
    "check": "check",
    "foreign": "fkey",
    "unique": "key",
    "primary": "pkey",
    "exclude": "excl",
    "not null": "not_null",
}


def put(catalog: Catalog, key: Key, table: CatalogTable) -> Catalog:
    """Return the catalog with a table in the place of what it had of that name."""
    return replace(catalog, tables={**catalog.tables, key: table})


def altered(catalog: Catalog, node: Node) -> Catalog:
    """Return the catalog behind an ALTER TABLE; a table that is not known stays so."""
    key = names.key_of(node.relation, catalog)
    for cmd in tree.commands(node):
        subtype = tree.subtype(cmd)
        if subtype in ATTACHING:
            catalog = ATTACHING[subtype](catalog, key, cmd)
        elif subtype in CHANGES:
            members = catalog.family(key) if node.relation.inh else (key,)
            for member in members:
                if member in catalog.tables:
                    changed = CHANGES[subtype](catalog, member, cmd)
                    catalog = put(catalog, member, changed)
    return catalog


def constrained(
    catalog: Catalog, key: Key, table: CatalogTable, node: Node, column: str = ""
) -> CatalogTable:
    """Return a table with a constraint, and with the index that it builds."""
    kind = KINDS.get(names.contype(node))
    if kind is None:
        return table
    own = (column,) if column else ()
    if node.indexname:
        index = table.indexes.get(str(node.indexname))
        columns = index.columns if index is not None else ()
    else:
        columns = _columns(node, kind) or own
    text = tree.expression(node.raw_expr) if kind == "check" else ""
    if kind == "check":
        known = proofs.mentioned(text)
        columns = tuple(name for name in table.columns if name in known)
    in_name = () if kind == "primary" or (kind == "check" and len(columns) != 1) else columns
    name = str(node.conname) or named(key[1], in_name, ENDINGS[kind])
    constraint = CatalogConstraint(
        name=name,
        kind=kind,
        columns=columns,
        validated=not node.skip_validation,
        expression=text,
        refers=names.key_of(node.pktable, catalog) if kind == "foreign" else None,
    )
    if kind == "not null":
        return _not_null(table, columns, constraint)
    if kind == "primary":
        table = replace(table, columns=_with_not_null(table.columns, columns))
    if kind in ("unique", "primary", "exclude"):
        built = CatalogIndex(columns, unique=kind != "exclude")
        indexes = {n: i for n, i in table.indexes.items() if n != str(node.indexname)}
        table = replace(table, indexes={**indexes, name: built})
    return replace(table, constraints=(*table.constraints, constraint))


def _columns(node: Node, kind: ConstraintKind) -> tuple[str, ...]:
    if kind == "exclude":
        elements = (item.list.items[0].index_elem for item in node.exclusions)
        return tuple(str(element.name) for element in elements if element.name)
    return names.texts(node.fk_attrs if kind == "foreign" else node.keys)


def named(table: str, columns: tuple[str, ...], ending: str) -> str:
    """Return the name that the server gives, where no other object has it."""
    return "_".join((table, *columns, ending))


def _not_null(
    table: CatalogTable, columns: tuple[str, ...], constraint: CatalogConstraint
) -> CatalogTable:
    if constraint.validated:
        return replace(table, columns=_with_not_null(table.columns, columns))
    return replace(table, constraints=(*table.constraints, constraint))


def _with_not_null(
    columns: Mapping[str, CatalogColumn], names_: tuple[str, ...], *, value: bool = True
) -> dict[str, CatalogColumn]:
    return {
        name: replace(column, not_null=value) if name in names_ else column
        for name, column in columns.items()
    }


def _add_column(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    table, definition = catalog.tables[key], getattr(cmd, "def").column_def
    name = str(definition.colname)
    if name in table.columns:
        return table
    column = names.column_of(definition, catalog)
    table = replace(table, columns={**table.columns, name: column})
    for item in definition.constraints:
        table = constrained(catalog, key, table, item.constraint, name)
    return table


def _drop_column(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    table, name = catalog.tables[key], str(cmd.name)
    return replace(
        table,
        columns={n: column for n, column in table.columns.items() if n != name},
        constraints=tuple(item for item in table.constraints if name not in item.columns),
        indexes={n: i for n, i in table.indexes.items() if name not in i.columns},
    )


def _set_not_null(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    table, name = catalog.tables[key], str(cmd.name)
    return replace(
        table,
        columns=_with_not_null(table.columns, (name,)),
        constraints=tuple(
            item
            for item in table.constraints
            if not (item.kind == "not null" and item.columns == (name,))
        ),
    )


def _drop_not_null(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    table = _set_not_null(catalog, key, cmd)
    return replace(table, columns=_with_not_null(table.columns, (str(cmd.name),), value=False))


def _retype(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    table, name = catalog.tables[key], str(cmd.name)
    if name not in table.columns:
        return table
    type_name = getattr(cmd, "def").column_def.type_name
    column = replace(
        table.columns[name],
        type=names.type_of(type_name, catalog),
        modifier=names.modifier_of(type_name),
    )
    return replace(table, columns={**table.columns, name: column})


def _add_constraint(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    node = getattr(cmd, "def").constraint
    return constrained(catalog, key, catalog.tables[key], node)


def _validate(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    table = catalog.tables[key]
    constraint = table.constraint(str(cmd.name))
    if constraint is None:
        return table
    if constraint.kind == "not null":
        rest = tuple(item for item in table.constraints if item is not constraint)
        columns = _with_not_null(table.columns, constraint.columns)
        return replace(table, columns=columns, constraints=rest)
    return _with_validated(table, constraint.name, validated=True)


def _with_validated(table: CatalogTable, name: str, *, validated: bool) -> CatalogTable:
    return replace(
        table,
        constraints=tuple(
            replace(item, validated=validated) if item.name == name else item
            for item in table.constraints
        ),
    )


def _enforce(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    """ALTER CONSTRAINT … ENFORCED looks through the rows; NOT ENFORCED proves nothing any more."""
    node = getattr(cmd, "def").atalter_constraint
    table = catalog.tables[key]
    if not node.alter_enforceability:
        return table
    return _with_validated(table, str(node.conname), validated=bool(node.is_enforced))


def _drop_constraint(catalog: Catalog, key: Key, cmd: Node) -> CatalogTable:
    table, name = catalog.tables[key], str(cmd.name)
    return replace(
        table,
        constraints=tuple(item for item in table.constraints if item.name != name),
        indexes={n: index for n, index in table.indexes.items() if n != name},
    )


def _attach(catalog: Catalog, key: Key, cmd: Node) -> Catalog:
    command = getattr(cmd, "def").partition_cmd
    child = names.key_of(command.name, catalog)
    if not command.HasField("bound") or child not in catalog.tables:
        return catalog
    bound = "DEFAULT" if command.bound.is_default else tree.bound(command.bound)
    return put(catalog, child, replace(catalog.tables[child], parents=(key,), bound=bound))


def _detach(catalog: Catalog, _: Key, cmd: Node) -> Catalog:
    child = names.key_of(getattr(cmd, "def").partition_cmd.name, catalog)
    if child not in catalog.tables:
        return catalog
    return put(catalog, child, replace(catalog.tables[child], parents=(), bound=""))


def _inherit(catalog: Catalog, key: Key, cmd: Node) -> Catalog:
    if key not in catalog.tables:
        return catalog
    parent = names.key_of(getattr(cmd, "def").range_var, catalog)
    rest = tuple(item for item in catalog.tables[key].parents if item != parent)
    parents = (*rest, parent) if tree.subtype(cmd) == "AT_AddInherit" else rest
    return put(catalog, key, replace(catalog.tables[key], parents=parents))


CHANGES: dict[str, Callable[[Catalog, Key, Node], CatalogTable]] = {
    "AT_AddColumn": _add_column,
    "AT_DropColumn": _drop_column,
    "AT_SetNotNull": _set_not_null,
    "AT_DropNotNull": _drop_not_null,
    "AT_AlterColumnType": _retype,
    "AT_AddConstraint": _add_constraint,
    "AT_ValidateConstraint": _validate,
    "AT_AlterConstraint": _enforce,
    "AT_DropConstraint": _drop_constraint,
}
ATTACHING: dict[str, Callable[[Catalog, Key, Node], Catalog]] = {
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
    "AT_AddInherit": _inherit,
    "AT_DropInherit": _inherit,
}
