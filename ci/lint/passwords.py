"""A password that stands in a migration is in the repository, in every plan and in every copy."""

from collections.abc import Iterator

from ..parser import passwords
from ..parser.split import Statement
from . import rules
from .rule import Remark


def password_remarks(statement: Statement) -> Iterator[Remark]:
    """Return a remark for each place where a statement has a password literally."""
    for where in passwords.literals(statement.kind, statement.node, statement.sql):
        yield rules.PASSWORD_LITERAL.says(where=where)
