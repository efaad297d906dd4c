"""Docs are tested: tasks, keys, policy and workflow are what the pages say."""

import ast
import re
from typing import Any

import pytest

from pgwindlass import config
from pgwindlass.database.leftovers import REPAIRS
from pgwindlass.lint.rules import RULES
from pgwindlass.model import StepName
from pgwindlass.plan.rights import JOBS
from pgwindlass.policy import TABLE
from pgwindlass.tasks import ns
from tests.kit import ROOT

README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
TASKS = (ROOT / "docs" / "tasks.md").read_text()


def keys(schema: dict[str, Any]) -> set[str]:
    """Return every key that deploy.yml knows, from its JSON Schema."""
    found: set[str] = set()
    for name, definition in schema["$defs"].items():
        if name != "Json":
            found |= set(definition.get("properties", {}))
    return found


@pytest.mark.unit
def test_every_key_of_deploy_yml_is_documented() -> None:
    missing = {
        key for key in keys(config.json_schema()) if not re.search(rf"\b{key}\b", CONFIGURATION)
    }

    assert missing == set()


@pytest.mark.unit
def test_every_task_is_documented_and_every_documented_one_exists() -> None:
    tasks = set(ns.task_names)
    section = TASKS.split("## Tasks")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    shown = {word for row in rows for word in re.findall(r"`([a-z.]+)[ `]", row)}

    assert shown <= tasks | {"backup"}
    assert tasks - {"backup.take"} <= shown | {"backup"}


@pytest.mark.unit
def test_the_policy_table_of_the_readme_is_the_policy() -> None:
    words = {"required": "required", "default": "on by default", "optional": "where configured"}
    section = README.split("## What each tier does")[1].split("\n## ")[0]
    lines = [line.strip("| ") for line in section.splitlines() if line.startswith("| ")]
    rows = {cells[0].strip(): cells[1:] for cells in (line.split(" | ") for line in lines)}
    assert [name for name in rows if name in set(StepName)] == [str(name) for name in TABLE]
    for name, levels in TABLE.items():
        for level, cell in zip(levels, rows[name], strict=True):
            if str(name) not in ("lint", "proof"):  # these say how, not whether
                assert cell.startswith("–" if level == "-" else words[level]), (name, cell)


@pytest.mark.unit
def test_the_table_of_lint_md_is_our_rules_with_level_effect_and_words() -> None:
    page = (ROOT / "docs" / "lint.md").read_text().split("## Our own")[1]
    rows = [line.split("|")[1:5] for line in page.splitlines() if line.startswith("| `")]
    documented = {
        rule: (level.strip(), does.strip(), re.sub(r"\[(.*?)\]\(.*?\)|`", r"\1", about).strip())
        for names, level, does, about in rows
        for rule in re.findall(r"`([a-z-]+)`", names)
    }

    assert documented == {rule.id: (rule.level, rule.does, rule.about) for rule in RULES.values()}


@pytest.mark.unit
def test_a_rule_is_named_once_and_used() -> None:
    sources = {
        path.relative_to(ROOT / "ci").as_posix(): path.read_text()
        for path in (ROOT / "ci").rglob("*.py")
    }
    del sources["lint/rules.py"]
    written = {
        (rule.id, path)
        for rule in RULES.values()
        for path, text in sources.items()
        if f'"{rule.id}"' in text
    }
    unused = {
        rule.id
        for rule in RULES.values()
        if not any(
            re.search(rf"\b{rule.id.replace('-', '_').upper()}\b", t) for t in sources.values()
        )
    }

    # What a deployment leaves half done is found, and repaired, by SQL, in a layer below lint.
    assert written == {(name, "database/leftovers.py") for name in REPAIRS}
    assert unused == {"invalid-index", "detaching-partition"}
    assert set(REPAIRS) == {rule.id for rule in RULES.values() if rule.later} - {
        "long-lock",
        "hot-table",
    }


@pytest.mark.unit
def test_everything_that_a_workflow_takes_is_documented() -> None:
    page = (ROOT / "docs" / "github.md").read_text()
    texts = {path.name: path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")}
    named = set(re.findall(r"(?:secrets|vars|inputs)\.(\w+)", "".join(texts.values())))

    assert {name for name in named | set(texts) if f"`{name}`" not in page} == set()
    for name in re.findall(r"^\| `(\w+\.yml)`", page, re.MULTILINE):
        assert name in texts
    for environment in ("dev", "uat", "production-plan", "production", "production-backup"):
        assert f"`{environment}`" in page


class Texts(ast.NodeVisitor):
    """Every text of a module; what an f-string fills in is a pair of braces."""

    def __init__(self, tree: ast.AST) -> None:
        self.found: list[str] = []
        self.visit(tree)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found.append(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        fixed = [
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        ]
        self.found.append("".join(fixed))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)


@pytest.mark.unit
def test_every_command_that_a_message_tells_exists_with_its_flags() -> None:
    flags = {
        name: set(task.flags) for task in ns.to_contexts() for name in (task.name, *task.aliases)
    }
    command = re.compile(
        r"\b(?:invoke|windlass) ([a-z][a-z.-]*[a-z])(.*?)(?=\b(?:invoke|windlass) |[;:()\n]|$)"
    )
    told = [
        (path.name, task, re.findall(r"--[a-z][a-z-]*", rest))
        for path in (ROOT / "ci").rglob("*.py")
        for text in Texts(ast.parse(path.read_text())).found
        for task, rest in command.findall(text)
    ]

    assert len(told) > 50
    assert [one for one in told if one[1] not in flags] == []
    assert [one for one in told if not set(one[2]) <= flags[one[1]]] == []


@pytest.mark.unit
def test_the_page_about_security_names_every_file_of_attacks_and_no_other() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    linked = set(re.findall(r"\]\(\.\./(tests/[^)#]+)\)", page))
    attacks = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests" / "laws" / "nobody_gets_in").glob("test_*.py")
    }

    assert {name for name in linked if not (ROOT / name).exists()} == set()
    assert attacks - linked == set()
    assert set(JOBS) <= set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


@pytest.mark.unit
def test_the_commands_of_the_readme_exist_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()

    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_tiers_are_named_in_the_policy_and_the_gate_alone() -> None:
    allowed = {"policy.py", "model.py", "gate.py", "pending.py", "tasks.py"}
    pattern = re.compile(r"""== ["'](development|acceptance|production)["']""")
    found = {p.name for p in (ROOT / "ci").rglob("*.py") if pattern.search(p.read_text())}

    assert found <= allowed - {"model.py"}
