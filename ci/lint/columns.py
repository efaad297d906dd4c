"""What adding a column, or altering one, does to every row of its table."""

from collections.abc import Iterable, Iterator

from postgast import pg_query_pb2

from ..parser import tree
from ..parser.tree import Node
from . import rules
from .catalog import Catalog, CatalogColumn, CatalogTable
from .rules import Remark

SERIAL = frozenset(
    {
        "serial",
        "bigserial",
        "smallserial",
        "serial2",
        "serial4",
        "serial8",
    }
)
# Volatile ones of the server's own (pg_proc.provolatile) that people take for defaults.
VOLATILE = frozenset(
    {
        "random",
        "clock_timestamp",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "timeofday",
        "nextval",
        "uuid_generate_v1",
        "uuid_generate_v4",
        "gen_random_bytes",
    }
)
# Type changes that keep every row as it is, measured alike on 12 to 18: to the same type with a
# wider modifier or none, and these. timestamptz: where the session's time zone is UTC, as ours is.
SAME_FORM = frozenset(
    {
        ("varchar", "text"),
        ("text", "varchar"),
        ("cidr", "inet"),
        ("timestamp", "timestamptz"),
    }
)
WIDENS = frozenset({"varchar", "varbit"})
HEADER = 4  # bytes by which pg_attribute.atttypmod of varchar and numeric is more than is written


def added_column(node: Node, catalog: Catalog | None) -> Iterator[Remark]:
    """Say what ADD COLUMN does beyond the catalog."""
    name = str(node.type_name.names[-1].string.sval)
    if name in SERIAL:
        yield rules.ADD_SERIAL.says()
    if catalog is not None and name in catalog.constrained_domains:
        yield rules.ADD_COLUMN_DOMAIN.says(domain=name)
    for item in node.constraints:
        yield from _column_constraint(item.constraint, catalog)


def _column_constraint(node: Node, catalog: Catalog | None) -> Iterator[Remark]:
    kind = pg_query_pb2.ConstrType.Name(node.contype)
    if kind == "CONSTR_IDENTITY":
        yield rules.ADD_IDENTITY.says()
    elif kind == "CONSTR_GENERATED" and _stored(node, catalog):
        yield rules.ADD_GENERATED.says()
    elif kind == "CONSTR_CHECK" and not node.skip_validation:
        yield rules.ADD_COLUMN_CHECK.says()
    elif kind == "CONSTR_DEFAULT":
        for name in tree.functions(node.raw_expr):
            if _volatile(name, catalog):
                yield rules.VOLATILE_DEFAULT.says(function=name)


def _stored(node: Node, catalog: Catalog | None) -> bool:
    """Tell whether a generated column is stored; one without a word for it is not, since 18."""
    return str(node.generated_kind) != "v" or (catalog is not None and catalog.major < 18)


def _volatile(name: str, catalog: Catalog | None) -> bool:
    if catalog is None or name not in catalog.functions:
        return name in VOLATILE
    return catalog.functions[name].volatile


def altered_column(rule: str, commands: Iterable[Node], table: CatalogTable) -> bool:
    """Tell whether a rule that squawk says is broken is, given the table's columns."""
    if rule == "changing-column-type":
        changes = [cmd for cmd in commands if tree.subtype(cmd) == "AT_AlterColumnType"]
        return not all(keeps_rows(cmd, table.columns.get(str(cmd.name))) for cmd in changes)
    if rule == "adding-not-nullable-field":
        names = [str(c.name) for c in commands if tree.subtype(c) == "AT_SetNotNull"]
        known = [table.columns.get(name) for name in names]
        return not all(column is not None and column.never_null for column in known)
    return True


def keeps_rows(cmd: Node, column: CatalogColumn | None) -> bool:
    """Tell whether ALTER COLUMN TYPE leaves every row as it is."""
    definition = getattr(cmd, "def").column_def
    if column is None or definition.HasField("raw_default") or definition.HasField("coll_clause"):
        return False
    wanted = str(definition.type_name.names[-1].string.sval)
    modifiers = [int(modifier.a_const.ival.ival) for modifier in definition.type_name.typmods]
    if (column.type, wanted) in SAME_FORM:
        return not modifiers
    if column.type != wanted:
        return False
    if not modifiers:
        return wanted in (*WIDENS, "numeric")
    return _wider(column, wanted, modifiers)


def _wider(column: CatalogColumn, wanted: str, modifiers: list[int]) -> bool:
    if column.modifier == -1:
        return False
    if wanted == "numeric":
        # numerictypmodin: (precision << 16 | scale) + the header's size
        precision, scale = divmod(column.modifier - HEADER, 1 << 16)
        return modifiers[0] >= precision and [*modifiers[1:], 0][0] == scale
    header = HEADER if wanted == "varchar" else 0
    return wanted in WIDENS and modifiers[0] >= column.modifier - header
