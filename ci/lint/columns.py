"""What adding a column, or altering one, does to every row of its table."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

from ..parser import tree
from ..parser.tree import Node
from . import names, pointers, proofs, rules, table_rules
from .catalog import Catalog, CatalogColumn, CatalogTable, Key
from .rule import Remark

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
# Type changes that keep every row as it is, measured alike on 13 to 18: to the same type with a
# wider modifier or none, and these.
SAME_FORM = frozenset({("varchar", "text"), ("text", "varchar"), ("cidr", "inet")})
IN_UTC = frozenset({("timestamp", "timestamptz"), ("timestamptz", "timestamp")})
UTC = frozenset({"UTC", "GMT", "Etc/UTC", "Etc/GMT", "UCT", "Zulu", "Universal", "Greenwich"})
UNLIMITED = {"numeric", "varchar", "varbit", "interval", "timestamp", "timestamptz", "time"}
PRECISE = frozenset({"timestamp", "timestamptz", "time", "timetz"})
ALL_FIELDS = 0x7FFF  # of an interval's modifier; INTERVAL_FULL_RANGE in timestamp.h


class Altered(NamedTuple):
    """One command of an ALTER TABLE, and the table as it finds it."""

    cmd: Node
    key: Key
    table: CatalogTable | None
    catalog: Catalog
    recurses: bool  # to what is below the table

    @property
    def members(self) -> tuple[Key, ...]:
        """The tables that it works on."""
        return self.catalog.family(self.key) if self.recurses else (self.key,)


def added_column(altered: Altered) -> Iterator[Remark]:
    """Say what ADD COLUMN does beyond the catalog."""
    cmd, key, table, catalog, _ = altered
    definition = getattr(cmd, "def").column_def
    if cmd.missing_ok and table is not None and str(definition.colname) in table.columns:
        return
    parts = names.texts(definition.type_name.names)
    members = altered.members
    if len(parts) == 1 and parts[0] in names.SERIAL:
        yield rules.ADD_SERIAL.says(*members)
    domain = catalog.type_key(parts, catalog.domains)
    if domain is not None and catalog.domains[domain].constrained:
        yield rules.ADD_COLUMN_DOMAIN.says(*members, domain=domain[1])
    kinds = [names.contype(item.constraint) for item in definition.constraints]
    for item, kind in zip(definition.constraints, kinds, strict=True):
        yield from _column_constraint(item.constraint, kind, kinds, altered)
    if "CONSTR_NOTNULL" in kinds and not _has_value(kinds, parts):
        column = str(definition.colname)
        call = pointers.add_not_null(key, definition)
        says = table_rules.REQUIRED_FIELD.says
        yield says(*members, table=key[1], column=column, call=call)


def _has_value(kinds: list[str], parts: tuple[str, ...]) -> bool:
    """Tell whether a new column has a value in the rows that are there."""
    filled = {"CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED"}
    return bool(filled & set(kinds)) or (len(parts) == 1 and parts[0] in names.SERIAL)


def _column_constraint(
    node: Node, kind: str, kinds: list[str], altered: Altered
) -> Iterator[Remark]:
    members, key = altered.members, altered.key
    if kind == "CONSTR_IDENTITY":
        yield rules.ADD_IDENTITY.says(*members)
    elif kind == "CONSTR_GENERATED":
        yield from [rules.ADD_GENERATED.says(*members)] * _stored(node, altered.catalog)
    elif kind == "CONSTR_CHECK" and not node.skip_validation:
        yield rules.ADD_COLUMN_CHECK.says(*members)
    elif kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
        yield table_rules.UNIQUE_BUILD.says(*members, table=key[1])
    elif kind == "CONSTR_FOREIGN" and "CONSTR_DEFAULT" in kinds:
        refers = names.key_of(node.pktable, altered.catalog)
        yield table_rules.FOREIGN_KEY_SCAN.says(*members, table=key[1], refers=refers[1], call="")
    elif kind == "CONSTR_DEFAULT":
        yield from _default(node, altered)


def _default(node: Node, altered: Altered) -> Iterator[Remark]:
    for parts in names.calls(node.raw_expr):
        if volatile(parts, altered.catalog):
            yield rules.VOLATILE_DEFAULT.says(*altered.members, function=parts[-1])


def _stored(node: Node, catalog: Catalog) -> bool:
    """Tell whether a generated column is stored; one without a word for it is not, since 18."""
    return str(node.generated_kind) != "v" or 0 < catalog.major < 18


def volatile(parts: tuple[str, ...], catalog: Catalog) -> bool:
    """Tell whether a function gives another value for each row."""
    function = catalog.function(parts)
    return parts[-1] in VOLATILE if function is None else function.volatile


def not_null(altered: Altered, column: str) -> Iterator[Remark]:
    """Say where NOT NULL must be looked for in every row: in a table whose catalog proves none."""
    unproven = [
        key
        for key in altered.members
        if (table := altered.catalog.tables.get(key)) is None
        or not (table.kind == "p" or proofs.never_null(table, column))
        or (table.kind == "p" and len(altered.members) == 1 and not altered.recurses)
    ]
    if unproven:
        yield table_rules.NOT_NULL_SCAN.says(*unproven, table=altered.key[1], column=column)


def retyped(altered: Altered) -> Iterator[Remark]:
    """Say what ALTER COLUMN TYPE makes anew: the rows, an index, or what a CHECK was tested on."""
    name, table = str(altered.cmd.name), altered.table
    column = table.columns.get(name) if table is not None else None
    definition = getattr(altered.cmd, "def").column_def
    call = pointers.change_type(altered.key, name, definition)
    says = functools.partial(table_rules.TYPE_REWRITE.says, call=call)
    if column is None or not keeps_rows(definition, column, altered.catalog):
        yield says(*altered.members, work=f"writes all of {altered.key[1]} anew, for {name},")
        return
    rebuilt, tested = [], []
    for key in altered.members:
        member = altered.catalog.tables[key]
        rebuilt += [key] if _rebuilt(member, name, definition) else []
        tested += [key] if _tested(member, name) else []
    if rebuilt:
        work = f"builds an index of {altered.key[1]} with {name} anew"
        yield says(*rebuilt, work=work)._replace(does="scan")
    elif tested:
        work = f"tests a CHECK with {name} on every row of {altered.key[1]}"
        yield says(*tested, work=work)._replace(does="scan")


def _rebuilt(table: CatalogTable, name: str, definition: Node) -> bool:
    """Tell whether an index is built anew: of another collation, or one with an expression."""
    collated = definition.HasField("coll_clause")
    return any(
        (name in index.columns and (collated or not index.whole))
        or (not index.whole and name in index.definition)
        for index in table.indexes.values()
    )


def _tested(table: CatalogTable, name: str) -> bool:
    return any(
        check.kind == "check" and check.validated and name in proofs.mentioned(check.expression)
        for check in table.constraints
    )


def keeps_rows(definition: Node, column: CatalogColumn, catalog: Catalog) -> bool:
    """Tell whether ALTER COLUMN TYPE leaves every row as it is."""
    if definition.HasField("raw_default") and not _plain(definition):
        return False
    wanted = names.type_of(definition.type_name, catalog)
    modifier = names.modifier_of(definition.type_name)
    before = _beneath(column.type, catalog)
    domain = next((d for k, d in catalog.domains.items() if ".".join(k) == wanted), None)
    if domain is not None:
        return not domain.constrained and domain.base == before
    if (before, wanted) in SAME_FORM:
        return modifier == -1
    if (before, wanted) in IN_UTC:
        return modifier == -1 and catalog.time_zone in UTC
    if before != wanted:
        return False
    if modifier in (-1, column.modifier):
        return modifier == column.modifier or wanted in UNLIMITED
    return column.modifier != -1 and _wider(wanted, column.modifier, modifier)


def _plain(definition: Node) -> bool:
    """Tell whether USING gives the column itself, or a cast of it to its new type."""
    value = definition.raw_default
    if value.WhichOneof("node") == "type_cast":
        wanted = names.texts(definition.type_name.names)[-1]
        cast = value.type_cast
        if names.texts(cast.type_name.names)[-1] != wanted or (
            names.modifier_of(cast.type_name) != names.modifier_of(definition.type_name)
        ):
            return False
        value = cast.arg
    return str(value.WhichOneof("node")) == "column_ref"


def _beneath(type_: str, catalog: Catalog) -> str:
    """Return the type beneath a domain; of another type itself."""
    return next((d.base for k, d in catalog.domains.items() if ".".join(k) == type_), type_)


def _wider(type_: str, before: int, after: int) -> bool:
    if type_ == "numeric":
        # numerictypmodin: (precision << 16 | scale) + the header's size
        old, old_scale = divmod(before - names.HEADER, 1 << 16)
        new, new_scale = divmod(after - names.HEADER, 1 << 16)
        return new >= old and new_scale == old_scale
    if type_ == "interval":
        fields = after >> 16
        return fields == ALL_FIELDS and (after & 0xFFFF) >= (before & 0xFFFF)
    return type_ in ({"varchar", "varbit"} | PRECISE) and after >= before


def subtypes(cmds: list[Node]) -> list[str]:
    """Return what the commands of an ALTER TABLE do."""
    return [tree.subtype(cmd) for cmd in cmds]
