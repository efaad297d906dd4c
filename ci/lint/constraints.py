"""What adding a constraint, or attaching a partition, reads or builds under a lock."""

from collections.abc import Callable, Iterator

from ..parser.tree import Node
from . import names, pointers, proofs, table_rules
from .catalog import Catalog, Key
from .columns import Altered, not_null
from .rule import Remark


def added_constraint(altered: Altered, final: Catalog) -> Iterator[Remark]:
    """Say what ADD CONSTRAINT does beyond the catalog.

    `final` is the catalog behind all pending files: an index that one of them builds counts.
    """
    node = getattr(altered.cmd, "def").constraint
    kind = names.contype(node)
    if kind in JUDGED:
        yield from JUDGED[kind](altered, node)
    if kind == "CONSTR_FOREIGN":
        yield from _without_index(altered, node, final)


def _check(altered: Altered, node: Node) -> Iterator[Remark]:
    if not node.skip_validation:
        yield table_rules.CHECK_SCAN.says(*altered.members, table=altered.key[1])


def _foreign(altered: Altered, node: Node) -> Iterator[Remark]:
    if not node.skip_validation:
        refers = names.key_of(node.pktable, altered.catalog)
        call = pointers.foreign_key(altered.key, node, altered.catalog)
        yield table_rules.FOREIGN_KEY_SCAN.says(
            *altered.members,
            table=altered.key[1],
            refers=refers[1],
            call=f": {call}" if call else "",
        )


def enforced(altered: Altered) -> Iterator[Remark]:
    """Say what ALTER CONSTRAINT … ENFORCED reads, since 18: what was not looked at until then."""
    node = getattr(altered.cmd, "def").atalter_constraint
    constraint = altered.table.constraint(str(node.conname)) if altered.table is not None else None
    if not node.alter_enforceability or not node.is_enforced:
        return
    if constraint is None or (not constraint.validated and constraint.refers is not None):
        refers = constraint.refers[1] if constraint and constraint.refers else "the other table"
        says = table_rules.FOREIGN_KEY_SCAN.says
        yield says(*altered.members, table=altered.key[1], refers=refers, call="")


def _without_index(altered: Altered, node: Node, final: Catalog) -> Iterator[Remark]:
    table = final.tables.get(altered.key)
    if altered.table is None or table is None:
        return
    columns = names.texts(node.fk_attrs)
    if not any(
        index.columns[: len(columns)] == columns and index.whole and index.valid
        for index in table.indexes.values()
    ):
        says = table_rules.FOREIGN_KEY_NO_INDEX.says
        yield says(altered.key, columns=", ".join(columns))


def _unique(altered: Altered, node: Node) -> Iterator[Remark]:
    if not node.indexname:
        yield table_rules.UNIQUE_BUILD.says(*altered.members, table=altered.key[1])


def _primary(altered: Altered, node: Node) -> Iterator[Remark]:
    if not node.indexname:
        yield table_rules.PRIMARY_KEY_BUILD.says(*altered.members, table=altered.key[1])
    elif altered.table is not None and str(node.indexname) in altered.table.indexes:
        columns = altered.table.indexes[str(node.indexname)].columns
        if not all(proofs.never_null(altered.table, column) for column in columns):
            yield table_rules.PRIMARY_KEY_SCAN.says(*altered.members)


def _exclude(altered: Altered, _: Node) -> Iterator[Remark]:
    yield table_rules.ADD_EXCLUDE.says(*altered.members, table=altered.key[1])


def _not_null(altered: Altered, node: Node) -> Iterator[Remark]:
    if not node.skip_validation:
        yield from not_null(altered, names.texts(node.keys)[0])


JUDGED: dict[str, Callable[[Altered, Node], Iterator[Remark]]] = {
    "CONSTR_CHECK": _check,
    "CONSTR_FOREIGN": _foreign,
    "CONSTR_UNIQUE": _unique,
    "CONSTR_PRIMARY": _primary,
    "CONSTR_EXCLUSION": _exclude,
    "CONSTR_NOTNULL": _not_null,
}


def attached(altered: Altered) -> Iterator[Remark]:
    """Say what ATTACH PARTITION reads: the partition, and the default one."""
    command = getattr(altered.cmd, "def").partition_cmd
    if not command.HasField("bound"):  # of an index
        return
    catalog = altered.catalog
    child = names.key_of(command.name, catalog)
    by = altered.table.partitioning if altered.table is not None else None
    table = catalog.tables.get(child)
    read: list[Key] = []
    if table is None or not proofs.proves_bound(table, command.bound, by):
        read += catalog.family(child)
    if not command.bound.is_default:
        read += [
            key for key in catalog.children(altered.key) if catalog.tables[key].bound == "DEFAULT"
        ]
    if read:
        yield table_rules.ATTACH_SCAN.says(*read, partition=read[0][1])


def detached(altered: Altered) -> Iterator[Remark]:
    """Say what DETACH PARTITION locks."""
    command = getattr(altered.cmd, "def").partition_cmd
    if command.concurrent:
        return
    child = names.key_of(command.name, altered.catalog)
    says = table_rules.DETACH_LOCKS.says
    yield says(altered.key, child, table=altered.key[1], partition=child[1])
