"""What is dangerous in the SQL of revisions; its lines are those of the Python files."""

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import psycopg

from ...errors import ConfigError, Place
from ...lint import rules
from ...lint.catalog import read_catalog
from ...lint.statements import lint_files
from ...model import Finding
from ...parser.file import SqlFile
from ...parser.once import Parser
from .. import HISTORIES
from . import revision


class RenderedStatement(msgspec.Struct, frozen=True):
    """One statement and where in the revision it comes from."""

    sql: str
    where: str  # file:line


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A revision as offline mode writes it; `why` says what kept it from that."""

    sent: tuple[RenderedStatement, ...] = msgspec.field(name="statements", default=())
    why: str = msgspec.field(name="unread", default="")
    at: str = ""

    @property
    def unread(self) -> str:
        """Why it cannot be rendered, with its place; empty where it can."""
        return f"{self.why}{f' ({self.at})' if self.at else ''}" if self.why else ""

    @property
    def statements(self) -> tuple[tuple[str, str], ...]:
        """The statements, each with its place."""
        return tuple((statement.sql, statement.where) for statement in self.sent)

    def parsed(self, head: SqlFile, parser: Parser) -> tuple[SqlFile, dict[int, int]]:
        """Return it as a file, and for each line where a statement begins that of the revision.

        Raises:
            ConfigError: it is not what the runner would let a migration do.

        """
        text = "" if head.transactional else "-- windlass: transaction=off\n"
        lines: dict[int, int] = {}
        for statement in self.sent:
            lines[text.count("\n") + 1] = Place.parse(statement.where).line
            text += f"{statement.sql}\n"
        return parser.parse(head.path, text), lines

    def tables(self, head: SqlFile, parser: Parser) -> frozenset[str] | None:
        """Return the tables it names; None where that cannot be known."""
        if self.why:
            return None
        try:
            return self.parsed(head, parser)[0].tables()
        except ConfigError:
            return None


class Renderings(msgspec.Struct, frozen=True, kw_only=True):
    """What the child says of several."""

    rendered: tuple[Rendered, ...]


def lint_revisions(
    revisions: Iterable[tuple[SqlFile, str, Rendered]],
    parser: Parser,
    connection: psycopg.Connection | None,
) -> tuple[Finding, ...]:
    """Return the findings of revisions: (directives, source, as rendered) each.

    One that cannot be rendered is unknown: only a rehearsal shows what it does.
    """
    results: list[Finding] = []
    files: list[SqlFile] = []
    lines: dict[str, dict[int, int]] = {}
    for head, source, rendered in revisions:
        try:
            file, at = rendered.parsed(head, parser)
        except ConfigError as error:
            results.append(_unknown(head, error.what))
            continue
        if rendered.why:
            if not any(allowance.covers(rules.OPAQUE.id, 0) for allowance in head.allowed):
                results.append(_unknown(head, f"not renderable: {rendered.unread}"))
            continue
        allowed = revision.scoped(head.allowed, source, at)
        files.append(replace(file, phase=head.phase, allowed=allowed))
        lines[str(head.path)] = at
    catalog = None
    if connection is not None:
        tables = frozenset[str]().union(*(file.tables() for file in files))
        functions = frozenset[str]().union(*(file.functions() for file in files))
        catalog = read_catalog(connection, tables, functions)
    findings = lint_files(files, catalog, HISTORIES)
    results += [_at_source(finding, lines[finding.file]) for finding in findings]
    return tuple(results)


def _unknown(head: SqlFile, why: str) -> Finding:
    return Finding(
        level=rules.OPAQUE.level,
        rule=rules.OPAQUE.id,
        file=str(head.path),
        line=1,
        message=f"{why}; a rehearsal shows what it does",
    )


def _at_source(finding: Finding, lines: dict[int, int]) -> Finding:
    """Return a finding with the lines of the revision in place of those of its SQL."""

    def source(line: int) -> int:
        return lines[max(at for at in lines if at <= line)] if lines and line >= min(lines) else 1

    if finding.rule == rules.STALE_ALLOW.id:
        return finding
    return msgspec.structs.replace(
        finding,
        line=source(finding.line),
        statement=source(finding.statement) if finding.statement else 0,
    )
