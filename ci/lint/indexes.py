"""What building, dropping or rebuilding an index makes others wait for."""

from collections.abc import Iterator

from ..parser import tree
from ..parser.tree import Node
from . import names, rules, table_rules
from .catalog import Catalog, Key
from .forward import index_name
from .rule import Remark


def created_index(node: Node, catalog: Catalog) -> Iterator[Remark]:
    """Say what CREATE INDEX does while it is built; ON ONLY builds nothing."""
    key = names.key_of(node.relation, catalog)
    table = catalog.tables.get(key)
    partitioned = table is not None and table.kind == "p"
    if node.concurrent:
        if partitioned:
            yield table_rules.CONCURRENTLY_ON_PARTITIONED.says()
        return
    there = table is not None and index_name(key[1], node) in table.indexes
    if (node.if_not_exists and there) or (not node.relation.inh and (partitioned or table is None)):
        return
    yield table_rules.INDEX_LOCKS.says(*catalog.family(key), table=key[1])


def dropped_index(node: Node, catalog: Catalog) -> Iterator[Remark]:
    """Say what DROP INDEX waits for."""
    if node.concurrent:
        return
    for item in node.objects:
        parts = names.texts(item.list.items)
        owner = catalog.index(parts[-2] if len(parts) > 1 else "", parts[-1])
        if owner is None and node.missing_ok and catalog.live:
            continue
        table = owner[1] if owner is not None else f"the table of {parts[-1]}"
        yield table_rules.DROP_INDEX_LOCKS.says(*([owner] if owner else []), table=table)


def rebuilt_index(node: Node, catalog: Catalog) -> Iterator[Remark]:
    """Say what REINDEX keeps others from."""
    if "concurrently" in {item.def_elem.defname for item in node.params}:
        return
    key = _of_reindex(node, catalog)
    name = key[1] if key is not None else str(node.name) or f"the table of {node.relation.relname}"
    works = catalog.family(key) if key is not None else ()
    yield table_rules.REINDEX_LOCKS.says(*works, table=name)


def _of_reindex(node: Node, catalog: Catalog) -> Key | None:
    """Return the table that is meant, by its own name or by that of its index."""
    if not node.HasField("relation"):
        return None
    key = names.key_of(node.relation, catalog)
    if key in catalog.tables:
        return key
    return catalog.index(str(node.relation.schemaname), str(node.relation.relname))


def altered_index(node: Node, catalog: Catalog) -> Iterator[Remark]:
    """Say what ALTER INDEX copies."""
    if any(tree.subtype(cmd) == "AT_SetTableSpace" for cmd in tree.commands(node)):
        owner = catalog.index(str(node.relation.schemaname), str(node.relation.relname))
        yield rules.SET_TABLESPACE.says(*([owner] if owner else []))
