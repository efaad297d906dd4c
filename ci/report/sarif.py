"""What lint found, as SARIF 2.1.0 for code scanning. Pure.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html, and what GitHub reads:
https://docs.github.com/code-security/reference/code-scanning/sarif-files/sarif-support
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..lint.rules import RULES
from ..model import Finding, FindingLevel
from ..secret import redact
from ..version import __version__
from .runner_commands import in_repository, uri

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RESULTS = 5000  # that GitHub shows of a run; it takes 25 000 and refuses a file with more
LEVELS: dict[FindingLevel, str] = {
    "error": "error",
    "unknown": "warning",
    "warning": "warning",
    "note": "note",
}
PAGE = "docs/lint.md"
SQUAWK = "https://squawkhq.com/docs"


def document(
    findings: tuple[Finding, ...], sources: Mapping[str, str], *, prefix: str, page: str
) -> str:
    """Return the findings, the gravest first, as a SARIF document.

    Args:
        findings: as lint sorted them.
        sources: text of each file that they name; of one that is missing the line is not known.
        prefix: from the repository's root to deploy.yml's directory; empty: it is the root.
        page: URL of docs/lint.md; empty: the rules' help has its name instead.

    """
    shown = findings[:RESULTS]
    rules = sorted({finding.rule for finding in shown})
    seen: dict[str, int] = {}
    results = [_result(finding, sources, prefix, rules, seen) for finding in shown]
    run = {
        "tool": {
            "driver": {
                "name": "Windlass",
                "semanticVersion": __version__,
                "rules": [_rule(rule, page) for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": results,
        "invocations": [_invocation(len(findings) - len(shown))],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(rule: str, page: str) -> dict[str, Any]:
    is_own = rule in RULES
    says = RULES[rule].about if is_own else f"a rule of squawk: {rule}"
    where = page if is_own else f"{SQUAWK}/{rule}"
    link = {"helpUri": where} if where else {}
    text = f"{says}. Described in {where or PAGE}."
    linked = f"{says}. [{PAGE if is_own else 'squawk'}]({where})." if where else text
    return {
        "id": rule,
        "name": "".join(part.capitalize() for part in rule.split("-")),
        "shortDescription": {"text": says},
        "fullDescription": {"text": says},
        "help": {"text": text, "markdown": linked},
        **link,
        "properties": {"tags": ["postgresql", "migration"]},
    }


def _result(
    finding: Finding,
    sources: Mapping[str, str],
    prefix: str,
    rules: list[str],
    seen: dict[str, int],
) -> dict[str, Any]:
    path = in_repository(finding.file, prefix)
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": LEVELS[finding.level],
        "message": {"text": redact(finding.message)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri(path), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": max(1, finding.line)},
                }
            }
        ],
        "partialFingerprints": {"windlass/v1": _fingerprint(finding, sources, path, seen)},
    }


def _fingerprint(
    finding: Finding, sources: Mapping[str, str], path: str, seen: dict[str, int]
) -> str:
    """Return what stays the same when lines above come and go: file, rule, line's text, which one.

    Not the message, which tells sizes of today.
    """
    lines = sources.get(finding.file, "").splitlines()
    line = " ".join(lines[finding.line - 1].split()) if 0 < finding.line <= len(lines) else ""
    key = hashlib.sha256("\0".join((path, finding.rule, line)).encode()).hexdigest()
    seen[key] = seen.get(key, 0) + 1
    return f"{key}:{seen[key]}"


def _invocation(left_out: int) -> dict[str, Any]:
    if not left_out:
        return {"executionSuccessful": True}
    text = f"{left_out} more findings are left out: GitHub shows {RESULTS}, and the log has all"
    notice = {"level": "warning", "message": {"text": text}}
    return {"executionSuccessful": True, "toolExecutionNotifications": [notice]}
