"""Passwords that stand in a migration's text, where everyone who reads the repository has them.

The parser's tree shows those of a statement; those in a DO block, a function's body or a text that
is executed are looked for in their text. Pure.
"""

import re
from collections.abc import Iterable, Iterator

import postgast
from google.protobuf.message import DecodeError
from postgast import find_nodes
from postgast.pg_query_pb2 import A_Const, DefElem, FuncCall

from .depth import too_deep
from .tree import Node

# PostgreSQL's own verifier: no password, and so no more than a hint to one.
VERIFIER = "SCRAM-SHA-256$"
ROLES = frozenset({"create_role_stmt", "alter_role_stmt"})
OPTIONS = frozenset(
    {
        "create_user_mapping_stmt",
        "alter_user_mapping_stmt",
        "create_foreign_server_stmt",
        "alter_foreign_server_stmt",
        "create_foreign_table_stmt",
        "create_fdw_stmt",
        "alter_fdw_stmt",
    }
)
SUBSCRIPTIONS = frozenset({"create_subscription_stmt", "alter_subscription_stmt"})
# Statements whose text holds other statements.
HOLDERS = frozenset({"do_stmt", "create_function_stmt", "select_stmt", "execute_stmt"})
SETTINGS = frozenset({"variable_set_stmt", "alter_role_set_stmt", "alter_database_set_stmt"})
NAMED = ROLES | OPTIONS | SUBSCRIPTIONS | SETTINGS
CALLS = re.compile("dblink|crypt|set_config", re.IGNORECASE)
SECRET_NAME = re.compile(
    r"(^|[_.-])(password|passwd|passphrase|passcode|secret|token|api_?key|access_key|secret_key"
    r"|private_key|jwt_secret)$",
    re.IGNORECASE,
)
KEY_FUNCTIONS = re.compile(r"(?:pgp_sym_(?:en|de)crypt(?:_bytea)?|crypt)$")
CONNECTION = re.compile(
    r"\b(?:ssl)?password\s*=\s*(?:'[^']+'|[^\s'$*%][^\s']*)|\bpostgres(?:ql)?://[^\s/:@']*:[^\s/@'$%]+@",
    re.IGNORECASE,
)
_BEGINS = r"\b(?:CREATE|ALTER)\s+(?:ROLE|USER|GROUP)\b[^;]{0,2000}?\bPASSWORD\s+"
_JOINS = r"(?!\s*(?:\|\||[,);]|$))"
IN_TEXT = re.compile(
    rf"(?:{_BEGINS})(?:E|U&)?(?:'{{1,4}}(?!'){_JOINS}[^'\n]+'|\$(\w*)\$[^$\n]+\$\1\$)"
    r"|\bdblink\w*\s*\([^;]{0,500}?\bpassword\s*=\s*(?!'\s*\|\|)[^\s'%$][^\s']*"
    r"|\bOPTIONS\s*\([^;)]{0,500}?\bpassword\s+'{1,4}(?!')[^'\n]+'",
    re.IGNORECASE,
)
SUSPECT = re.compile(
    r"passw|passphrase|passcode|secret|token|api_?key|access_key|private_key|crypt"
    r"|postgres(?:ql)?://",
    re.IGNORECASE,
)


def literals(kind: str, node: Node, sql: str) -> tuple[str, ...]:
    """Return where a statement has a password or key literally: "PASSWORD of a role", …

    Args:
        kind: the parser's name of the statement.
        node: its tree.
        sql: its text.

    """
    if not SUSPECT.search(sql):
        return ()
    places = [*_in_text(kind, sql)]
    if kind in NAMED or CALLS.search(sql):  # walking a large INSERT's tree takes seconds
        places = [*_in_tree(kind, node), *places]
    return tuple(dict.fromkeys(places))


def in_text(text: str) -> tuple[str, ...]:
    """Return the same for a whole script; one that the parser does not take is read as a text.

    A verifier of SCRAM-SHA-256 is left out.
    """
    if not SUSPECT.search(text):
        return ()
    try:
        statements = () if too_deep(text) else postgast.parse(text).stmts
    except (postgast.PgQueryError, DecodeError):
        return ("PASSWORD in a text",) if _first(IN_TEXT, text) else ()
    places: list[str] = []
    raw = text.encode()
    for statement in statements:
        kind = str(statement.stmt.WhichOneof("node"))
        end = statement.stmt_location + statement.stmt_len if statement.stmt_len else len(raw)
        sql = raw[statement.stmt_location : end].decode()
        if VERIFIER not in sql:
            places += literals(kind, getattr(statement.stmt, kind), sql)
    return tuple(dict.fromkeys(places))


def _in_tree(kind: str, node: Node) -> Iterator[str]:
    if kind in ROLES:
        return _of_role(node)
    if kind in OPTIONS:
        return _in_options(node)
    if kind in SUBSCRIPTIONS:
        password = CONNECTION.search(node.conninfo)
        return iter(("the password of a subscription's CONNECTION",) if password else ())
    if kind in SETTINGS:
        return _of_setting(node if kind == "variable_set_stmt" else node.setstmt)
    return _in_calls(node)


def _of_role(node: Node) -> Iterator[str]:
    options = [option.def_elem for option in node.options]
    if any(o.defname == "password" and o.arg.string.sval for o in options):
        yield "the PASSWORD of a role"


def _in_options(node: Node) -> Iterator[str]:
    for option in find_nodes(node, DefElem):
        value = option.arg.string.sval
        if value and (SECRET_NAME.search(option.defname) or CONNECTION.search(value)):
            yield f"the option {option.defname}"


def _of_setting(node: Node) -> Iterator[str]:
    if SECRET_NAME.search(node.name) and any(_texts(node.args)):
        yield f"the setting {node.name}"


def _in_calls(node: Node) -> Iterator[str]:
    for call in find_nodes(node, FuncCall):
        name = str(call.funcname[-1].string.sval) if call.funcname else ""
        if name.startswith("dblink") and any(CONNECTION.search(t) for t in _texts(call.args)):
            yield f"the password in {name}()"
        elif KEY_FUNCTIONS.fullmatch(name):
            argument = call.args[0 if name == "crypt" else 1 : 1 if name == "crypt" else 2]
            if any(_texts(argument)):
                yield f"the password of {name}()"
        elif name == "set_config" and len(call.args) > 1:
            setting, value = call.args[0], call.args[1]
            if SECRET_NAME.search(setting.a_const.sval.sval) and value.a_const.sval.sval:
                yield f"the setting {setting.a_const.sval.sval}"


def _texts(arguments: Iterable[Node]) -> Iterator[str]:
    """Yield the texts that stand in arguments literally, also below a cast."""
    for argument in arguments:
        if argument.HasField("type_cast"):
            yield from _texts([argument.type_cast.arg])
        elif argument.HasField("a_const") and argument.a_const.sval.sval:
            yield str(argument.a_const.sval.sval)
        elif argument.HasField("a_expr"):
            yield from (
                str(c.sval.sval) for c in find_nodes(argument.a_expr, A_Const) if c.sval.sval
            )


def _in_text(kind: str, sql: str) -> Iterator[str]:
    if kind in HOLDERS and _first(IN_TEXT, sql):
        yield "a password in a text that is executed"


def _first(pattern: re.Pattern[str], text: str) -> bool:
    return any(VERIFIER not in match[0] for match in pattern.finditer(text))
