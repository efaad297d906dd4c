"""Names and texts as SQL has them, in scripts that a person reads and runs. Pure."""

import re

PREDEFINED = re.compile(r"pg_[a-z0-9_]+")
UNQUOTED = frozenset({"public", "windlass"})


def ident(*parts: str) -> str:
    """Return a name, with its schema before it: quoted where it is not plain.

    Raises:
        ValueError: a part is empty or has a zero byte, which no name of the server can have.

    """
    return ".".join(_quoted(part) for part in parts)


def _quoted(name: str) -> str:
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is no name")
    # A plain word may be a keyword, such as user: every name but a few is quoted.
    if name in UNQUOTED or PREDEFINED.fullmatch(name):
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a string constant; right with standard_conforming_strings on or off."""
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def block(text: str) -> str:
    """Return a DO statement of this PL/pgSQL, which no name in it can end early."""
    tag, number = "$windlass$", 0
    while tag in text:
        number += 1
        tag = f"$windlass{number}$"
    return f"do {tag} {text}\n{tag}"
