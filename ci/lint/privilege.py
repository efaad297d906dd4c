"""What gives somebody a right, or reaches beyond the schema: roles, our tables, files, programs.

A migration runs as who owns the database's objects. What it grants, or runs on the server, is not
undone by its rollback. The bodies of DO blocks and of functions are looked through as text: what
they put together while they run is not seen.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache
from itertools import pairwise

from postgast import find_nodes, pg_query_pb2
from postgast.pg_query_pb2 import DeleteStmt, FuncCall, InsertStmt, MergeStmt, RangeVar, UpdateStmt

from ..database.history_table import HistoryTable
from ..parser.split import Statement
from ..parser.tree import Node
from . import rules
from .rule import Remark

SCHEMA = "windlass"

ROLES = {
    "create_role_stmt": "creates a role",
    "alter_role_stmt": "alters a role",
    "alter_role_set_stmt": "alters a role's settings",
    "drop_role_stmt": "drops a role",
    "grant_role_stmt": "changes who is a member of a role",
    "reassign_owned_stmt": "gives objects to another role",
    "create_event_trig_stmt": "creates an event trigger, which every later statement runs",
    "alter_event_trig_stmt": "alters an event trigger",
    "create_plang_stmt": "creates a language",
    "load_stmt": "loads a library into the server",
}
SETTINGS = {
    "role": "goes on as another role",
    "session_authorization": "goes on as another role",
    "session_replication_role": "turns triggers and foreign keys off",
    "row_security": "sets row_security",
}
# Of a database or a role: every later session begins with them.
DEFAULTS = frozenset({*SETTINGS, "search_path", "session_preload_libraries"})
FUNCTIONS = re.compile(
    r"\b(lo_import|lo_export|pg_read_file|pg_read_binary_file|pg_stat_file|pg_ls_\w+|pg_file_\w+"
    r"|pg_logdir_ls|dblink\w*|query_to_xml|set_config|pg_reload_conf|pg_switch_wal)\b",
    re.IGNORECASE,
)
TRUSTED = frozenset({"sql", "plpgsql", "plperl", "pltcl", "plv8", "plrust"})
EXTENSIONS = frozenset(
    {
        "adminpack",
        "aws_s3",
        "dblink",
        "file_fdw",
        "http",
        "mysql_fdw",
        "oracle_fdw",
        "pg_background",
        "pg_cron",
        "pg_net",
        "plperlu",
        "plpython2u",
        "plpython3u",
        "plpythonu",
        "plsh",
        "pltclu",
        "postgres_fdw",
        "tds_fdw",
        "xml2",
    }
)
# In the body of a DO block or a function, without comments, in lower case, one blank between words.
BODIES = (
    (r"\b(create|alter|drop) (role|user|group)\b(?! mapping)", "changes a role"),
    (
        r"(^|[;']|\b(begin|then|else|loop)) ?set (local |session )?(role|session authorization)\b",
        SETTINGS["role"],
    ),
    (r"\bset (local |session )?session_replication_role\b", SETTINGS["session_replication_role"]),
    (r"\b(disable|no force) row level security\b", "disables row security"),
    (r"\brow_security\b", SETTINGS["row_security"]),
    (r"\bset_config \( ?'(role|session_authorization|session_replication_role)'", "sets a role"),
    (r"\bgrant\b[^;]*\bto (group )?public\b", "grants to PUBLIC"),
    (r"\bcopy\b[^;]*\b(from|to) program\b", "runs a program on the server"),
    (r"\bcopy\b[^;]*\b(from|to) '/", "reads or writes a file of the server"),
    (r"\b(lo_import|lo_export|pg_read_file|pg_read_binary_file|pg_ls_dir)\b", "reaches files"),
    (r"\balter system\b", "changes the server"),
    (r"\balter database\b[^;]*\bset\b", "changes what every later session begins with"),
    (r"\bcreate (or replace )?(trusted )?language\b", "creates a language"),
    (r"\blanguage '?(c|internal|\w+u)\b", "creates a function in an untrusted language"),
)
WRITES = "writes to a table of the history"
WRITTEN = (
    r"\b(insert into|update( only)?|delete from( only)?|truncate( table)?|alter table) "
    r"\"?(windlass\"?\.|(public\.)?\"?({names})\b)"
)
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def privilege_remarks(statement: Statement, history: Collection[HistoryTable]) -> Iterator[Remark]:
    """Say what a statement grants or reaches, each thing once; `history`: where engines keep it."""
    for what in dict.fromkeys(_reasons(statement, tuple(history))):
        yield rules.PRIVILEGE.says(what=what)


def _reasons(statement: Statement, history: tuple[HistoryTable, ...]) -> Iterator[str]:
    kind, node, text = statement.kind, statement.node, statement.sql
    if kind in ROLES:
        yield ROLES[kind]
    if kind in _LOOKS:
        yield from _LOOKS[kind](node)
    for words in map(_words, _bodies(kind, node)):
        yield from (f"{what}, in its body" for pattern, what in BODIES if re.search(pattern, words))
        if _written(history).search(words):
            yield f"{WRITES}, in its body"
    yield from _calls(node, text)
    if _named_in(history).search(text) and _writes_ours(kind, node, history):
        yield WRITES


@cache
def _written(history: tuple[HistoryTable, ...]) -> re.Pattern[str]:
    """Return what finds in a body that it writes to one of our tables."""
    return re.compile(WRITTEN.format(names=_names(history)))


@cache
def _named_in(history: tuple[HistoryTable, ...]) -> re.Pattern[str]:
    """Return what finds a text that may name one of our tables."""
    return re.compile(f"{SCHEMA}|{_names(history)}", re.IGNORECASE)


def _names(history: tuple[HistoryTable, ...]) -> str:
    return "|".join(re.escape(table.name) for table in history)


def _object(number: int) -> str:
    return str(pg_query_pb2.ObjectType.Name(number))


def _renamed(node: Node) -> Iterator[str]:
    if _object(node.rename_type) == "OBJECT_ROLE":
        yield "renames a role"


def _setting(node: Node) -> Iterator[str]:
    if node.name in SETTINGS and pg_query_pb2.VariableSetKind.Name(node.kind) == "VAR_SET_VALUE":
        yield SETTINGS[node.name]


def _of_database(node: Node) -> Iterator[str]:
    if node.setstmt.name in DEFAULTS:
        yield f"sets {node.setstmt.name} for every later session of the database"


def _copied(node: Node) -> Iterator[str]:
    if node.is_program:
        yield "runs a program on the server"
    elif node.filename:
        yield "reads or writes a file of the server"


def _extension(node: Node) -> Iterator[str]:
    if node.extname in EXTENSIONS:
        yield f"creates the extension {node.extname}, which reaches beyond the database"


def _default_privileges(node: Node) -> Iterator[str]:
    yield from _granted(node.action)


def _granted(node: Node) -> Iterator[str]:
    if node.is_grant and any(_is_public(item.role_spec) for item in node.grantees):
        yield "grants to PUBLIC"


def _is_public(role: Node) -> bool:
    return str(pg_query_pb2.RoleSpecType.Name(role.roletype)) == "ROLESPEC_PUBLIC"


def _row_security(node: Node) -> Iterator[str]:
    subtypes = {
        pg_query_pb2.AlterTableType.Name(item.alter_table_cmd.subtype) for item in node.cmds
    }
    if subtypes & {"AT_DisableRowSecurity", "AT_NoForceRowSecurity"}:
        yield "disables row security"


def _created(node: Node) -> Iterator[str]:
    yield from _function([item.def_elem for item in node.options])


def _altered(node: Node) -> Iterator[str]:
    yield from _function([item.def_elem for item in node.actions])


def _function(items: list[Node]) -> Iterator[str]:
    settings = {item.arg.variable_set_stmt.name for item in items if item.defname == "set"}
    for item in items:
        if item.defname == "language" and item.arg.string.sval.lower() not in TRUSTED:
            yield f"is in the untrusted language {item.arg.string.sval}"
        definer = item.defname == "security" and item.arg.boolean.boolval
        if definer and "search_path" not in settings:
            yield "is SECURITY DEFINER without a search_path of its own"


def _block(node: Node) -> Iterator[str]:
    for item in node.args:
        if item.def_elem.defname == "language":
            language = item.def_elem.arg.string.sval
            if language.lower() not in TRUSTED:
                yield f"is in the untrusted language {language}"


def _bodies(kind: str, node: Node) -> Iterator[str]:
    """Yield the bodies of a DO block or of a function."""
    if kind == "do_stmt":
        yield from (
            str(item.def_elem.arg.string.sval)
            for item in node.args
            if item.def_elem.defname == "as"
        )
    elif kind == "create_function_stmt":
        for item in node.options:
            if item.def_elem.defname == "as":
                yield from (str(part.string.sval) for part in item.def_elem.arg.list.items)


def _words(body: str) -> str:
    return " ".join(COMMENT.sub(" ", body).lower().replace("(", " ( ").split())


def _calls(node: Node, text: str) -> Iterator[str]:
    if not FUNCTIONS.search(text):  # walking the tree of a large INSERT takes seconds
        return
    for call in find_nodes(node, FuncCall):
        name = str(call.funcname[-1].string.sval)
        if name == "set_config":
            setting = str(call.args[0].a_const.sval.sval).lower() if call.args else ""
            if setting in SETTINGS:
                yield SETTINGS[setting]
        elif FUNCTIONS.fullmatch(name):
            yield f"calls {name}, which reaches beyond the database"


def _writes_ours(kind: str, node: Node, history: tuple[HistoryTable, ...]) -> bool:
    def is_ours(relation: Node) -> bool:
        return _is_one(str(relation.schemaname), str(relation.relname), history)

    changing = [
        change.relation
        for type_ in (InsertStmt, UpdateStmt, DeleteStmt, MergeStmt)
        for change in find_nodes(node, type_)
    ]
    if kind in ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"):
        return any(map(is_ours, changing))
    if kind == "copy_stmt":
        return bool(node.is_from) and is_ours(node.relation)
    if kind in ("create_schema_stmt", "view_stmt", "create_table_as_stmt", "comment_stmt"):
        own = node.into.rel if kind == "create_table_as_stmt" else getattr(node, "view", None)
        return getattr(node, "schemaname", "") == SCHEMA or (own is not None and is_ours(own))
    if kind == "drop_stmt":
        return any(_names_ours(item, history) for item in node.objects)
    return any(map(is_ours, [*changing, *find_nodes(node, RangeVar)]))


def _is_one(schema: str, name: str, history: tuple[HistoryTable, ...]) -> bool:
    if schema == SCHEMA:
        return True
    return any(
        name == table.name and (not schema or table.schema in ("", schema)) for table in history
    )


def _names_ours(item: Node, history: tuple[HistoryTable, ...]) -> bool:
    parts = [str(part.string.sval) for part in item.list.items] or [str(item.string.sval)]
    if parts[0] == SCHEMA:
        return True
    # A trigger, rule or policy has its table before it.
    pairs = [("", parts[0]), *pairwise(parts)]
    return any(_is_one(schema, name, history) for schema, name in pairs)


_LOOKS: dict[str, Callable[[Node], Iterator[str]]] = {
    "rename_stmt": _renamed,
    "variable_set_stmt": _setting,
    "alter_database_set_stmt": _of_database,
    "grant_stmt": _granted,
    "alter_default_privileges_stmt": _default_privileges,
    "copy_stmt": _copied,
    "create_extension_stmt": _extension,
    "alter_table_stmt": _row_security,
    "create_function_stmt": _created,
    "alter_function_stmt": _altered,
    "do_stmt": _block,
}
