"""How grave a finding is: by the table's real size, and by what a rehearsal saw. Pure."""

from collections.abc import Iterable

import msgspec

from ..model import Finding, FindingLevel, Rehearsal, TableSize, Traced

# A scan reads, and a rewrite writes, some 100 MB to 1 GB a second: below SMALL it is over within
# the first rung of lock.timeout, above LARGE it holds everybody up beyond the last.
SMALL = 10 * 1000**2  # bytes
LARGE = 1000**3  # bytes
ORDER: tuple[FindingLevel, ...] = ("error", "unknown", "warning", "note")


def graded(
    findings: Iterable[Finding], sizes: Iterable[TableSize], rehearsal: Rehearsal | None
) -> tuple[Finding, ...]:
    """Return the findings with their levels, the gravest first.

    What works on every row of a table is a note where the table is small or the rehearsal saw no
    such work, an error where it is large; an unknown statement is a note once it was rehearsed.

    Args:
        findings: of the engine, which knows neither.
        sizes: of the tables the plan touches; of one that is not there nothing is changed.
        rehearsal: of exactly the plan; None: it was not rehearsed.

    """
    largest: dict[str, TableSize] = {}
    for table in sorted(sizes, key=lambda table: table.size):
        largest[table.name.rpartition(".")[2].strip('"')] = table
    seen = {
        traced.where: traced
        for migration in (rehearsal.migrations if rehearsal else ())
        for traced in migration.statements
    }
    graded_findings = [_grade(finding, largest.get(finding.table), seen) for finding in findings]
    return tuple(sorted(graded_findings, key=lambda f: (ORDER.index(f.level), f.file, f.line)))


def _grade(finding: Finding, table: TableSize | None, seen: dict[str, Traced]) -> Finding:
    traced = seen.get(f"{finding.file}:{finding.statement}")
    if finding.level == "unknown":
        return _with_level(finding, "note", "it ran in the rehearsal") if traced else finding
    if not finding.does or finding.level == "error":
        return finding
    if traced is not None and not _worked(finding, traced):
        return _with_level(finding, "note", "the rehearsal saw none of this work")
    if table is None:
        return finding
    if table.size < SMALL:
        return _with_level(finding, "note", f"{table.name} is small: {_size(table)}")
    if table.size > LARGE:
        return _with_level(finding, "error", f"{table.name} is large: {_size(table)}")
    return _with_level(finding, finding.level, f"{table.name}: {_size(table)}")


def _worked(finding: Finding, traced: Traced) -> bool:
    if finding.does == "rows":
        return traced.rows_changed > 0
    return bool(traced.rewrites or traced.scans or traced.indexes)


def _with_level(finding: Finding, level: FindingLevel, why: str) -> Finding:
    return msgspec.structs.replace(finding, level=level, message=f"{finding.message} ({why})")


def _size(table: TableSize) -> str:
    rows = f"about {table.rows:,} rows, " if table.rows >= 0 else ""
    return f"{rows}{table.size / 1000**2:,.1f} MB"


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those that end a deployment."""
    return tuple(finding for finding in findings if finding.level == "error")


def unknown(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those of statements that only a rehearsal can show."""
    return tuple(finding for finding in findings if finding.level == "unknown")
