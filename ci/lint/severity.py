"""How grave a finding is: by the table's real size, and by what a rehearsal saw. Pure."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from ..model import Finding, FindingLevel, Rehearsal, Traced

# A scan reads, and a rewrite writes, some 100 MB to 1 GB a second: below SMALL it is over within
# the first rung of lock.timeout, above LARGE it holds everybody up beyond the last.
SMALL = 10 * 1000**2  # bytes
LARGE = 1000**3  # bytes
ORDER: tuple[FindingLevel, ...] = ("error", "unknown", "warning", "note")


def graded(findings: Iterable[Finding], rehearsal: Rehearsal | None) -> tuple[Finding, ...]:
    """Return the findings with their levels, the gravest first.

    What works on every row of a table is a note where the table is small or the rehearsal saw no
    such work, an error where it is large; an unknown statement is a note once it was rehearsed.

    Args:
        findings: of the engine, each with the size of what it works on, where that is known.
        rehearsal: of exactly the plan; None: it was not rehearsed.

    """
    seen: dict[str, list[Traced]] = {}
    for migration in rehearsal.migrations if rehearsal else ():
        for traced in migration.statements:
            seen.setdefault(traced.where, []).append(traced)
    graded_findings = [_grade(finding, seen) for finding in findings]
    return tuple(sorted(graded_findings, key=lambda f: (ORDER.index(f.level), f.file, f.line)))


def _grade(finding: Finding, seen: dict[str, list[Traced]]) -> Finding:
    if finding.counted:
        return finding
    traced = seen.get(f"{finding.file}:{finding.statement}")
    if finding.level == "unknown":
        return _with_level(finding, "note", "it ran in the rehearsal") if traced else finding
    if not finding.does or finding.level == "error":
        return finding
    # Of several statements on a line any may be the one.
    if traced is not None and not any(_worked(finding, each) for each in traced):
        return _with_level(finding, "note", "the rehearsal saw none of this work")
    if finding.size < 0:
        return finding
    name = finding.relation or finding.table
    if finding.size < SMALL:
        return _with_level(finding, "note", f"{name} is small: {_size(finding)}")
    if finding.size > LARGE:
        return _with_level(finding, "error", f"{name} is large: {_size(finding)}")
    return _with_level(finding, finding.level, f"{name}: {_size(finding)}")


def _worked(finding: Finding, traced: Traced) -> bool:
    if finding.does == "rows":
        return traced.rows_changed > 0
    return bool(traced.rewrites or traced.scans or traced.indexes)


def _with_level(finding: Finding, level: FindingLevel, why: str) -> Finding:
    return msgspec.structs.replace(finding, level=level, message=f"{finding.message} ({why})")


def _size(finding: Finding) -> str:
    rows = f"about {finding.rows:,} rows, " if finding.rows >= 0 else ""
    return f"{rows}{finding.size / 1000**2:,.1f} MB"


def listed(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those that a person should read."""
    return tuple(finding for finding in findings if not finding.counted)


def counted(findings: Iterable[Finding]) -> str:
    """Return one line of those that are not listed; empty where there are none."""
    reasons = Counter(finding.counted for finding in findings if finding.counted)
    return "; ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those that end a deployment."""
    return tuple(finding for finding in findings if finding.level == "error")


def unknown(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those of statements that only a rehearsal can show."""
    return tuple(finding for finding in findings if finding.level == "unknown")
