"""What the mark `attack` means: somebody tries to get more than they have; the test says it failed.

`make attacks` runs these alone. Each run that has any prints how many were tried and how many held.
"""

import pytest
from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print how many attacks were tried, how many held, and how many could not be tried here."""
    stats = terminalreporter.stats
    tried = {kind: _attacks(stats.get(kind, [])) for kind in ("passed", "failed", "error")}
    skipped = len(_attacks(stats.get("skipped", [])))
    broken = tried["failed"] | tried["error"]
    held = tried["passed"] - broken
    if not (held or broken or skipped):
        return
    absent = f", {skipped} could not be tried here" if skipped else ""
    terminalreporter.section("attacks")
    terminalreporter.write_line(f"{len(held) + len(broken)} tried, {len(held)} held{absent}")
    for name in sorted(broken):
        terminalreporter.write_line(f"got in: {name}")


def _attacks(reports: list[pytest.TestReport]) -> set[str]:
    return {report.nodeid for report in reports if "attack" in getattr(report, "keywords", ())}
