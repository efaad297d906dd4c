"""Which roles a script names and does not create itself. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import postgast
from google.protobuf.message import DecodeError

Node = Any  # a protobuf message of postgast's, which come without type information
NAMED = 1  # RoleSpec.roletype of a name; PUBLIC, CURRENT_USER and the like have others


def named_roles(texts: Iterable[str]) -> frozenset[str]:
    """Return the roles that some scripts name, but for those that one of them creates.

    Built-in roles (pg_…) are on every server, and are left out. A text that is no SQL names none;
    nor is a role found that only a string in the SQL names, as in a DO block.
    """
    named: set[str] = set()
    created: set[str] = set()
    for text in texts:
        try:
            tree = postgast.parse(text)
        except (postgast.PgQueryError, DecodeError, UnicodeEncodeError):
            continue
        for node in _nodes(tree):
            kind = node.DESCRIPTOR.name
            if kind == "RoleSpec" and node.roletype == NAMED:
                named.add(node.rolename)
            elif kind == "CreateRoleStmt":
                created.add(node.role)
    return frozenset(name for name in named - created if not name.startswith("pg_"))


def _nodes(tree: Node) -> Iterator[Node]:
    """Yield every message of a tree, without recursion: hostile SQL is deep."""
    waiting = [tree]
    while waiting:
        current = waiting.pop()
        yield current
        for field, value in current.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if hasattr(value, "ListFields") else value)
