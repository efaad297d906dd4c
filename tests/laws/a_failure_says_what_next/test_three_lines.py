"""Law 7: what it was, what state things are in, the next command. Three lines, no traceback."""

import ast
from pathlib import Path

import pytest

import pgwindlass.errors
from pgwindlass.database.connection import Database
from pgwindlass.errors import WindlassError
from tests.kit import ROOT, Project

CASES = {
    "no deploy.yml": ("deploy", "--env", "dev"),
    "not yaml": ("deploy", "--env", "dev"),
    "no database": ("status", "--env", "dev"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_failure_is_three_lines_and_names_a_next_step(tmp_path: Path, case: str) -> None:
    project = Project(tmp_path / "shop", "postgresql://u@127.0.0.1:9/x")
    if case == "no deploy.yml":
        project.deploy_yml.unlink()
    if case == "not yaml":
        project.deploy_yml.write_text("a: [b\n")

    ran = project.run(*CASES[case])

    assert ran.code in (1, 2)
    lines = ran.error()
    assert len(lines) == 3
    assert lines[0].startswith("✗ ")
    assert lines[1].startswith("  state: ") and len(lines[1]) > 15
    assert lines[2].startswith("  next:  ") and len(lines[2]) > 15


def test_debug_adds_the_traceback(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", "postgresql://u@127.0.0.1:9/x")

    assert "Traceback" in project.run("status", "--env", "dev", "--debug").err
    assert "Traceback" not in project.run("status", "--env", "dev").err


def test_an_error_is_one_json_document_where_json_is_asked_for(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", "postgresql://u@127.0.0.1:9/x")

    found = project.json("status", "--env", "dev")["error"]

    assert found["kind"] == "Unreachable"
    assert found["exit_code"] == 1
    assert found["what"] and found["state"] and found["next_step"]


def test_the_json_document_of_an_error_has_file_line_and_step_apart(
    tmp_path: Path, database16: Database
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_a", "select 1;\n\nselect 1 / 0;", "select 1;")

    failed = project.json("deploy", "--env", "dev")["error"]
    project.deploy_yml.write_text("a: 1\na: 2\n")
    unread = project.json("deploy", "--env", "dev")["error"]

    where = {key: failed[key] for key in ("step", "file", "line")}
    assert where == {"step": "migrate", "file": "migrations/20260801_000000_a.sql", "line": 3}
    assert failed["what"].startswith("migrate: migrations/20260801_000000_a.sql:3: division by")
    assert (unread["step"], unread["file"], unread["line"]) == (None, "deploy.yml", 2)
    assert unread["what"] == 'deploy.yml:2: key "a" is written twice'


def test_every_error_class_has_its_place_in_the_tree_and_an_exit_code() -> None:
    tree = pgwindlass.errors.__doc__ or ""
    for name, kind in vars(pgwindlass.errors).items():
        if isinstance(kind, type) and issubclass(kind, WindlassError):
            assert name in tree
            assert kind.exit_code in (1, 2, 3, 4, 130)


def test_no_error_is_raised_without_a_next_step() -> None:
    kinds = {
        name
        for name, kind in vars(pgwindlass.errors).items()
        if isinstance(kind, type) and issubclass(kind, WindlassError)
    }
    assert len(kinds) > 10
    for path in (ROOT / "ci").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in kinds:
                given = {keyword.arg for keyword in node.keywords}
                assert "next_step" in given, f"{path}:{node.lineno}"
