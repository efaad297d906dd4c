"""What lint found, for a terminal."""

from ..model import Finding

GRAVE = frozenset({"error", "warning"})


def lint_text(findings: tuple[Finding, ...], counted: str) -> str:
    """Return the findings as a compiler would say them, each with the SQL to write instead.

    `counted`: of those that are not listed; empty where there are none.
    """
    lines = [line for finding in findings for line in _finding(finding)] or ["no findings"]
    return "\n".join([*lines, *([f"not listed: {counted}"] if counted else [])])


def _finding(finding: Finding) -> list[str]:
    if finding.level not in GRAVE or not finding.instead:
        return [str(finding)]
    return [str(finding), *(f"    {line}" for line in finding.instead.splitlines())]
