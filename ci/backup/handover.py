"""What of an archive a role without rights loads, and what our own role does for it. Pure.

The archive's own text never runs with our rights: of the script that pg_restore would run, our
role runs the statements of a few kinds, each parsed, which run no code of the archive's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2

Node = Any  # a protobuf message of postgast's, which come without type information

# Kinds of entries, as `pg_restore --list` words them.
ROWS = (
    "TABLE DATA ",
    "SEQUENCE SET ",
    "BLOBS ",
    "MATERIALIZED VIEW DATA ",
    "STATISTICS DATA ",
)
OURS = (
    "EXTENSION ",
    "COMMENT - EXTENSION ",
    "PUBLICATION ",
    "PUBLICATION TABLE ",
    "PUBLICATION TABLES IN SCHEMA ",
    "COMMENT - PUBLICATION ",
)
# What only a superuser may create, and what hands code of the archive's to one.
REFUSED = (
    "EVENT TRIGGER ",
    "COMMENT - EVENT TRIGGER ",
    "FOREIGN DATA WRAPPER ",
    "COMMENT - FOREIGN DATA WRAPPER ",
    "ACCESS METHOD ",
    "OPERATOR CLASS ",
    "OPERATOR FAMILY ",
    "PROCEDURAL LANGUAGE ",
    "TEXT SEARCH PARSER ",
    "TEXT SEARCH TEMPLATE ",
)
SUBSCRIPTIONS = ("SUBSCRIPTION ", "SUBSCRIPTION TABLE ", "COMMENT - SUBSCRIPTION ")
STARTS = re.compile(
    r"\s*(?:--[^\n]*\n\s*)*(?:ALTER|GRANT|REVOKE|CREATE\s+(?:EXTENSION|PUBLICATION)|COMMENT|SET|"
    r"RESET)\b",
    re.IGNORECASE,
)
RESTRICTED = re.compile(r"^\\(?:un)?restrict \w+$", re.MULTILINE)  # commands of psql's
NOBODY = "current_user"  # PostgreSQL takes it for no role's name
BLANKS = " \t\n\r\f\v"
SYSTEM = frozenset({"pg_catalog", "information_schema", "pg_toast"})
NAMED = pg_query_pb2.RoleSpecType.ROLESPEC_CSTRING
KEPT_KINDS = frozenset({"create_publication_stmt", "alter_publication_stmt"})
TRIGGERS = ("EVENT TRIGGER ", "COMMENT - EVENT TRIGGER ")
COMMENTED = frozenset({"OBJECT_EXTENSION", "OBJECT_PUBLICATION"})
# What has no schema in its name; what is not here and not qualified is refused.
BARE = frozenset({"OBJECT_SCHEMA", "OBJECT_LARGEOBJECT", "OBJECT_LANGUAGE", "OBJECT_FDW"})
BARE |= {"OBJECT_FOREIGN_SERVER"}
NOT_GIVEN = frozenset({"OBJECT_EVENT_TRIGGER", "OBJECT_SUBSCRIPTION", "OBJECT_FDW"})
NOT_GIVEN |= {"OBJECT_DATABASE", "OBJECT_TABLESPACE", "OBJECT_LANGUAGE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """The entries of an archive.

    load: the lines that the role without rights loads.
    script: those whose script our own role reads.
    refused: what only a superuser may create, in words.
    """

    load: tuple[str, ...]
    script: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension of the database, and the schema that it was installed in; empty: its own."""

    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that our own role runs. `gives`: it is about owners or grants; `grant`: these."""

    sql: str
    gives: bool
    grant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What our own role does for an archive.

    extensions: created before it is loaded.
    statements: run when it is loaded, in this order.
    refused: statements of the same kinds that would give rights away, in words.
    superusers: those that something is given to.
    """

    extensions: tuple[Extension, ...] = ()
    statements: tuple[Statement, ...] = ()
    refused: tuple[str, ...] = ()
    superusers: tuple[str, ...] = ()


def divided(lines: Iterable[str]) -> Divided:
    """Return the lines of `pg_restore --list` by who deals with them."""
    load, script, refused = [], [], []
    for line in lines:
        entry = _entry(line)
        if entry.startswith(REFUSED):
            refused.append(entry)
            continue
        if not entry.startswith(ROWS):
            script.append(line)
        if not entry.startswith(OURS):
            load.append(line)
    return Divided(load=tuple(load), script=tuple(script), refused=tuple(refused))


def without_triggers(lines: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines but for event triggers, and these in words: a superuser must own them.

    On a copy no role of the database is one.
    """
    entries = [(line, _entry(line)) for line in lines]
    left = tuple(entry for _, entry in entries if entry.startswith(TRIGGERS))
    return tuple(line for line, entry in entries if not entry.startswith(TRIGGERS)), left


def without_subscriptions(lines: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines but for subscriptions, and these in words.

    One would hold the slot of the live one at the publisher, and keep its database from being
    dropped.
    """
    entries = [(line, _entry(line)) for line in lines]
    left = tuple(entry for _, entry in entries if entry.startswith(SUBSCRIPTIONS))
    return tuple(line for line, entry in entries if not entry.startswith(SUBSCRIPTIONS)), left


def grants_of(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of grants, on objects and by default."""
    return tuple(line for line in lines if _entry(line).startswith(("ACL ", "DEFAULT ACL ")))


def is_left(kind: str, name: str, schema: str) -> bool:
    """Tell whether a definition, by its title, is none that a role without rights may make."""
    words = f"- {name} " if kind == "COMMENT" else ""
    if f"{kind} {words}".startswith((*REFUSED, *SUBSCRIPTIONS)):
        return True
    return kind == "ACL" and (schema in SYSTEM or name.startswith("FOREIGN DATA WRAPPER "))


def without_schemas(lines: Iterable[str], schemas: Iterable[str]) -> tuple[str, ...]:
    """Return the lines but for those that create schemas which are there already."""
    made = tuple(f"SCHEMA - {name} " for name in schemas)
    return tuple(line for line in lines if not (made and _entry(line).startswith(made)))


def _entry(line: str) -> str:
    """Return what a line names: its kind, schema, name and owner."""
    return line.split(" ", 3)[3] if line.count(" ") > 2 else line


def read(
    script: str, *, superusers: frozenset[str] = frozenset(), trusted: frozenset[str] = frozenset()
) -> Handover:
    """Return what our own role does, of the script that pg_restore prints.

    A statement that is none of the kinds below is the loading role's business, and left out.

    Args:
        script: the definitions.
        superusers: of the server: nothing is given to them,
        trusted: but for these.

    """
    reading = _Reading(superusers=superusers, trusted=trusted)
    for text in _split(RESTRICTED.sub("", script)):
        for kind, node in _parsed(text) if STARTS.match(text) else ():
            reading.take(kind, node, text.strip(BLANKS))
    return Handover(
        extensions=tuple(reading.extensions),
        statements=tuple(reading.statements),
        refused=tuple(reading.refused),
        superusers=tuple(dict.fromkeys(reading.given)),
    )


def _split(script: str) -> list[str]:
    """Return the statements of a script; what the parser does not know, its scanner divides."""
    try:
        return list(postgast.split(script))
    except postgast.PgQueryError:
        return list(postgast.split(script, method="scanner"))


def _parsed(text: str) -> Iterator[tuple[str, Node]]:
    """Yield the one statement of a text; none where it is not exactly one that the parser reads."""
    try:
        tree = postgast.parse(text)
    except (postgast.PgQueryError, DecodeError, UnicodeEncodeError):
        return
    if len(tree.stmts) == 1:
        kind = str(tree.stmts[0].stmt.WhichOneof("node"))
        yield kind, getattr(tree.stmts[0].stmt, kind)


class _Reading:
    """Collects what the statements of a script ask for."""

    def __init__(self, superusers: frozenset[str], trusted: frozenset[str]) -> None:
        self.superusers, self.trusted = superusers, trusted
        self.extensions: list[Extension] = []
        self.statements: list[Statement] = []
        self.refused: list[str] = []
        self.given: list[str] = []

    def take(self, kind: str, node: Node, text: str) -> None:
        """Take one statement, by its kind."""
        if kind == "create_extension_stmt":
            schemas = [
                option.def_elem.arg.string.sval
                for option in node.options
                if option.def_elem.defname == "schema"
            ]
            self.extensions.append(Extension(node.extname, "".join(schemas[:1])))
        elif kind in KEPT_KINDS or (kind == "comment_stmt" and _object(node) in COMMENTED):
            self.statements.append(Statement(text, gives=False))
        elif kind == "alter_default_privileges_stmt":
            roles = _default_roles(node)
            self._give(text, roles, known=bool(roles) and NOBODY not in roles, grant=True)
        elif kind == "grant_stmt":
            known = not node.is_grant or not _of_the_system(node)
            self._give(text, (), known=known, grant=True)
        elif (role := _given_to(kind, node)) is not None:
            self._give(text, (role,), known=role != NOBODY)

    def _give(self, text: str, roles: Iterable[str], *, known: bool, grant: bool = False) -> None:
        names = [role for role in roles if role in self.superusers]
        if known and not set(names) - self.trusted:
            self.statements.append(Statement(text, gives=True, grant=grant))
            self.given += names
        else:
            self.refused.append(" ".join(text.split()))


def _given_to(kind: str, node: Node) -> str | None:
    """Return the role that a statement gives something to, or runs the next ones as.

    None: it does neither. Empty: the next ones are our own role's again.
    """
    if kind == "alter_owner_stmt" and _kind_of(node.object_type) not in NOT_GIVEN:
        return _role(node.newowner)
    if kind == "alter_table_stmt" and len(node.cmds) == 1:
        command = node.cmds[0].alter_table_cmd
        if command.subtype == pg_query_pb2.AlterTableType.AT_ChangeOwner:
            return _role(command.newowner)
    if kind == "variable_set_stmt" and node.name == "session_authorization":
        return "".join(argument.a_const.sval.sval for argument in node.args)
    return None


def _role(role: Node) -> str:
    """Return a role by its name; one that no dump names so, as CURRENT_USER, is nobody."""
    return str(role.rolename) if role.roletype == NAMED else NOBODY


def _default_roles(node: Node) -> tuple[str, ...]:
    """Return whose later objects a statement is about; none: our own role's."""
    options = (option.def_elem for option in node.options)
    lists = (option.arg.list.items for option in options if option.defname == "roles")
    return tuple(_role(item.role_spec) for items in lists for item in items)


def _of_the_system(node: Node) -> bool:
    """Tell whether a grant is on what the server brings, or on what could be that."""
    if node.targtype != pg_query_pb2.GrantTargetType.ACL_TARGET_OBJECT:
        return True
    kind = _object(node)
    return any(_schema(item, kind) in SYSTEM | {""} for item in node.objects)


def _schema(item: Node, kind: str) -> str:
    """Return the schema in which an object of a grant is; `-` where its kind has none."""
    if kind in BARE:
        name = str(item.string.sval)
        return name if kind == "OBJECT_SCHEMA" and name in SYSTEM else "-"
    form = item.WhichOneof("node")
    if form == "range_var":
        return str(item.range_var.schemaname)
    names = item.object_with_args.objname if form == "object_with_args" else item.list.items
    return str(names[0].string.sval) if len(names) > 1 else ""


def _object(node: Node) -> str:
    return _kind_of(node.objtype)


def _kind_of(number: int) -> str:
    return str(pg_query_pb2.ObjectType.Name(number))
