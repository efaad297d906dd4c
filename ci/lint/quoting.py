"""Names and constants as SQL writes them. Pure."""

import re

from .catalog import Key

# What needs no quotes, unless it is a word of the grammar: more words than must be do no harm.
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
WORDS = frozenset(
    {
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "column",
        "constraint",
        "create",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "from",
        "grant",
        "group",
        "having",
        "in",
        "initially",
        "intersect",
        "into",
        "lateral",
        "leading",
        "limit",
        "localtime",
        "localtimestamp",
        "not",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "placing",
        "primary",
        "references",
        "returning",
        "select",
        "session_user",
        "some",
        "symmetric",
        "system_user",
        "table",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "when",
        "where",
        "window",
        "with",
        "authorization",
        "binary",
        "collation",
        "concurrently",
        "cross",
        "current_schema",
        "freeze",
        "full",
        "ilike",
        "inner",
        "is",
        "isnull",
        "join",
        "left",
        "like",
        "natural",
        "notnull",
        "outer",
        "overlaps",
        "right",
        "similar",
        "tablesample",
        "verbose",
    }
)


def quoted(name: str) -> str:
    """Return an identifier, in quotes where it needs them."""
    if PLAIN.fullmatch(name) and name not in WORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def shown_key(key: Key) -> str:
    """Return a table's name with its schema."""
    return ".".join(map(quoted, key))


def literal(text: str) -> str:
    """Return a constant text; `standard_conforming_strings` is on in our sessions."""
    return "'" + text.replace("'", "''") + "'"


def alter(key: Key, change: str) -> str:
    """Return an ALTER TABLE."""
    return f"ALTER TABLE {shown_key(key)} {change}"
