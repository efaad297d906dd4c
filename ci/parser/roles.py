"""Which roles a script names and does not create itself. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import postgast
from google.protobuf.message import DecodeError

Node = Any  # a protobuf message of postgast's, which come without type information
TEXTS = ("'", "e'", "$")  # how a text begins that EXECUTE is given
NAMED = 1  # RoleSpec.roletype of a name; PUBLIC, CURRENT_USER and the like have others


def named_roles(texts: Iterable[str]) -> frozenset[str]:
    """Return the roles that some scripts name, but for those that one of them creates.

    Built-in roles (pg_…) are on every server, and are left out. A text that is no SQL names none.
    The body of a DO block counts, and a text that it executes as it stands; not one that it puts
    together.
    """
    named: set[str] = set()
    created: set[str] = set()
    waiting = list(texts)
    while waiting:
        text = waiting.pop()
        tree = _parsed(text)
        for node in _nodes(tree) if tree is not None else ():
            kind = node.DESCRIPTOR.name
            if kind == "RoleSpec" and node.roletype == NAMED:
                named.add(node.rolename)
            elif kind == "CreateRoleStmt":
                created.add(node.role)
            elif kind == "DoStmt":
                waiting += _executed(node)
    return frozenset(name for name in named - created if not name.startswith("pg_"))


def _parsed(text: str) -> Node | None:
    try:
        return postgast.parse(text)
    except (postgast.PgQueryError, DecodeError, UnicodeEncodeError):
        return None


def _executed(block: Node) -> Iterator[str]:
    """Yield the statements in the body of a DO block, and the texts that it executes."""
    for option in block.args:
        body = option.def_elem.arg.string.sval if option.def_elem.defname == "as" else ""
        tag = f"$body{len(body)}$"
        if body and tag not in body:
            try:
                functions = postgast.parse_plpgsql(f"do {tag}{body}{tag}")
            except (postgast.PgQueryError, ValueError, RecursionError):
                continue
            yield from _queries(functions)


def _queries(tree: object) -> Iterator[str]:
    """Yield every statement in a tree of PL/pgSQL, and each text that one executes."""
    waiting = [tree]
    while waiting:
        current = waiting.pop()
        if isinstance(current, list):
            waiting += current
        elif isinstance(current, dict):
            waiting += current.values()
            for key in ("sqlstmt", "query"):
                expression = current.get(key)
                if isinstance(expression, dict):
                    yield _literal(str(expression.get("PLpgSQL_expr", {}).get("query", "")))


def _literal(query: str) -> str:
    """Return the text that an expression is, where it is one; else the query itself."""
    tree = _parsed(f"select {query}") if query.lstrip().lower().startswith(TEXTS) else None
    if tree is None or len(tree.stmts) != 1:
        return query
    targets = tree.stmts[0].stmt.select_stmt.target_list
    text = targets[0].res_target.val.a_const.sval.sval if len(targets) == 1 else ""
    return str(text) or query


def _nodes(tree: Node) -> Iterator[Node]:
    """Yield every message of a tree, without recursion: hostile SQL is deep."""
    waiting = [tree]
    while waiting:
        current = waiting.pop()
        yield current
        for field, value in current.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if hasattr(value, "ListFields") else value)
