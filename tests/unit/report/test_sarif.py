"""What lint found, as SARIF 2.1.0: the whole document, and what stays the same of it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from pgwindlass import __version__
from pgwindlass.lint.rules import RULES
from pgwindlass.model import Finding
from pgwindlass.report import sarif
from pgwindlass.secret import Secret
from tests.unit.examples import finding

pytestmark = pytest.mark.unit

PAGE = "https://x/docs/lint.md"
# SHA-256 of "b/m/a b.sql", "truncate" and "truncate t;" with NUL bytes between them.
FINGERPRINT = "3b2ef07c3aaec46f85db32813df767129d418d4ae16805f6b6f574180e01775e"


def run(
    *findings: Finding, sources: Mapping[str, str] | None = None, prefix: str = "", page: str = PAGE
) -> dict[str, Any]:
    document = sarif.document(findings, sources or {}, prefix=prefix, page=page)
    (only,) = json.loads(document)["runs"]
    assert isinstance(only, dict)
    return only


def prints(*findings: Finding, sources: Mapping[str, str], prefix: str = "") -> list[str]:
    """Return the fingerprints of findings."""
    found = run(*findings, sources=sources, prefix=prefix)["results"]
    return [each["partialFingerprints"]["windlass/v1"] for each in found]


def test_the_document_is_what_code_scanning_reads() -> None:
    Secret("sarif-secret-1")
    found = finding(
        level="error", rule="truncate", file="m/a b.sql", line=2, message="no sarif-secret-1"
    )

    text = sarif.document((found,), {"m/a b.sql": "a;\n truncate  t;\n"}, prefix="b", page=PAGE)

    assert (
        text
        == json.dumps(
            {
                "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
                "version": "2.1.0",
                "runs": [
                    {
                        "tool": {
                            "driver": {
                                "name": "Windlass",
                                "semanticVersion": __version__,
                                "rules": [
                                    {
                                        "id": "truncate",
                                        "name": "Truncate",
                                        "shortDescription": {
                                            "text": "every row goes, and only the backup has them"
                                        },
                                        "fullDescription": {
                                            "text": "every row goes, and only the backup has them"
                                        },
                                        "help": {
                                            "text": "every row goes, and only the backup has them. "
                                            f"Described in {PAGE}.",
                                            "markdown": "every row goes, and only the backup has "
                                            f"them. [docs/lint.md]({PAGE}).",
                                        },
                                        "helpUri": PAGE,
                                        "properties": {"tags": ["postgresql", "migration"]},
                                    }
                                ],
                            }
                        },
                        "columnKind": "unicodeCodePoints",
                        "results": [
                            {
                                "ruleId": "truncate",
                                "ruleIndex": 0,
                                "level": "error",
                                "message": {"text": "no ***"},
                                "locations": [
                                    {
                                        "physicalLocation": {
                                            "artifactLocation": {
                                                "uri": "b/m/a%20b.sql",
                                                "uriBaseId": "%SRCROOT%",
                                            },
                                            "region": {"startLine": 2},
                                        }
                                    }
                                ],
                                "partialFingerprints": {"windlass/v1": f"{FINGERPRINT}:1"},
                            }
                        ],
                        "invocations": [{"executionSuccessful": True}],
                    }
                ],
            },
            indent=2,
        )
        + "\n"
    )


@pytest.mark.parametrize(
    ("level", "expected"),
    [("error", "error"), ("unknown", "warning"), ("warning", "warning"), ("note", "note")],
)
def test_a_level_is_one_of_sarifs(level: str, expected: str) -> None:
    assert run(finding(level=level))["results"][0]["level"] == expected


@pytest.mark.parametrize(("line", "start"), [(0, 1), (1, 1), (7, 7)])
def test_a_finding_on_a_whole_file_is_at_its_first_line(line: int, start: int) -> None:
    (place,) = run(finding(line=line))["results"][0]["locations"]

    assert place["physicalLocation"]["region"] == {"startLine": start}


def test_a_rule_of_squawk_is_described_there() -> None:
    (rule,) = run(finding(rule="ban-drop-column"))["tool"]["driver"]["rules"]

    assert rule["name"] == "BanDropColumn"
    assert rule["shortDescription"] == {"text": "a rule of squawk: ban-drop-column"}
    assert rule["helpUri"] == "https://squawkhq.com/docs/ban-drop-column"
    assert rule["help"] == {
        "text": "a rule of squawk: ban-drop-column. Described in "
        "https://squawkhq.com/docs/ban-drop-column.",
        "markdown": "a rule of squawk: ban-drop-column. "
        "[squawk](https://squawkhq.com/docs/ban-drop-column).",
    }


def test_without_an_address_of_the_page_its_name_stands_in_the_help() -> None:
    (rule,) = run(finding(rule="every-row"), page="")["tool"]["driver"]["rules"]

    text = f"{RULES['every-row'].about}. Described in docs/lint.md."
    assert rule["help"] == {"text": text, "markdown": text}
    assert "helpUri" not in rule


def test_each_rule_is_told_once_and_in_order() -> None:
    found = run(finding(rule="truncate"), finding(rule="cluster"), finding(rule="truncate"))

    assert [rule["id"] for rule in found["tool"]["driver"]["rules"]] == ["cluster", "truncate"]
    assert [(each["ruleId"], each["ruleIndex"]) for each in found["results"]] == [
        ("truncate", 1),
        ("cluster", 0),
        ("truncate", 1),
    ]


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"line": 4}, "\n\n\n  alter   table t;"),
        ({"message": "another size"}, "\n\nalter table t;"),
        ({"level": "note"}, "\n\nalter table t;"),
    ],
)
def test_a_fingerprint_stays_when_lines_above_come_and_go(other: dict[str, Any], text: str) -> None:
    before = prints(finding(), sources={"migrations/a.sql": "\n\nalter table t;"})

    assert prints(finding(**other), sources={"migrations/a.sql": text}) == before


@pytest.mark.parametrize(
    ("other", "prefix"),
    [({"rule": "truncate"}, ""), ({"line": 1}, ""), ({"line": 9}, ""), ({}, "back")],
)
def test_a_fingerprint_is_another_for_another_rule_line_or_file(
    other: dict[str, Any], prefix: str
) -> None:
    sources = {"migrations/a.sql": "x\n\nalter table t;"}

    assert prints(finding(**other), sources=sources, prefix=prefix) != prints(
        finding(), sources=sources
    )


def test_equal_lines_are_told_apart_by_their_number() -> None:
    sources = {"migrations/a.sql": "truncate t;\ntruncate t;\ntruncate t;"}

    found = prints(*(finding(line=line) for line in (1, 2, 3)), sources=sources)

    key = found[0].removesuffix(":1")
    assert len(key) == 64
    assert found == [f"{key}:1", f"{key}:2", f"{key}:3"]


@pytest.mark.parametrize("line", [0, -1, 2])
def test_a_line_that_is_not_there_is_empty(line: int) -> None:
    one_line = {"migrations/a.sql": "truncate t;"}

    assert prints(finding(line=line), sources=one_line) == prints(finding(line=line), sources={})
    assert prints(finding(line=1), sources=one_line) != prints(finding(line=1), sources={})


@pytest.mark.parametrize(("count", "left_out"), [(5000, 0), (5001, 1), (5002, 2)])
def test_five_thousand_findings_are_shown_and_the_rest_is_counted(
    count: int, left_out: int
) -> None:
    found = run(*[finding()] * count)

    assert len(found["results"]) == 5000
    notice = {
        "level": "warning",
        "message": {
            "text": f"{left_out} more findings are left out: GitHub shows 5000, and the log has all"
        },
    }
    assert found["invocations"] == [
        {"executionSuccessful": True}
        | ({"toolExecutionNotifications": [notice]} if left_out else {})
    ]


def test_the_fingerprint_of_a_line_that_is_not_there_is_of_an_empty_one() -> None:
    key = hashlib.sha256(b"migrations/a.sql\0add-serial\0").hexdigest()

    assert prints(finding(line=9), sources={}) == [f"{key}:1"]
    assert prints(finding(line=1), sources={}) == [f"{key}:1"]
