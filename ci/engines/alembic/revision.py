"""What the text of a revision says without being run: directives, and whether it can be undone."""

import ast
import re
from dataclasses import replace
from pathlib import Path

from ...errors import ConfigError, Place
from ...parser.file import Allowed, SqlFile
from ...parser.once import Parser

DIRECTIVE = re.compile(r"^\s*#\s*(windlass:.*)$")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
OUTSIDE = "autocommit_block"  # of Operations.get_context(): what it holds commits by itself


def read_head(path: Path, source: str, parser: Parser) -> SqlFile:
    """Return the directives of a revision: `# windlass: phase=after` in lines of their own.

    Its path is the revision's, its statements are none.

    Raises:
        ConfigError: a directive is not known; with line.

    """
    lines = [DIRECTIVE.match(line) for line in source.splitlines()]
    text = "\n".join(f"-- {match[1]}" if match else "" for match in lines)
    file = parser.parse(path, text)
    return replace(file, transactional=file.transactional and OUTSIDE not in source)


def read_downgrade(path: Path, source: str) -> str | None:
    """Return the text of `downgrade()`; None where it does nothing, or only raises.

    What a revision that changes nothing itself, such as a merge, does not take back is nothing.

    Raises:
        ConfigError: the file is no Python.

    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ConfigError(
            error.msg, place=Place(str(path), error.lineno or 0), next_step="mend the revision"
        ) from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    down, up = functions.get("downgrade"), functions.get("upgrade")
    if down is None or (_is_empty(down) and up is not None and not _is_empty(up)):
        return None
    return ast.get_source_segment(source, down)


def _is_empty(function: ast.FunctionDef) -> bool:
    return all(
        isinstance(node, ast.Pass | ast.Raise)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in function.body
    )


def words_in_strings(source: str) -> frozenset[str]:
    """Return every word of every string of a revision: the tables it names are among them."""
    strings = (
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return frozenset(word for text in strings for word in WORD.findall(text))


def scoped(allowed: tuple[Allowed, ...], source: str, lines: dict[int, int]) -> tuple[Allowed, ...]:
    """Return allowances for the statements that a revision was rendered to.

    Args:
        allowed: as the head has them, by lines of the source.
        source: of the revision; an allowance above its functions is for the whole revision.
        lines: of each rendered statement (its line there) the line of the source it is from.

    """
    body = min(
        (node.lineno for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)),
        default=0,
    )
    allowances = []
    for allowance in allowed:
        below = min((at for at in lines.values() if at > allowance.line), default=0)
        statements = [rendered for rendered, at in lines.items() if at == below]
        where = [0] if allowance.line < body else statements
        allowances += [replace(allowance, statement=statement) for statement in where]
    return tuple(allowances)
