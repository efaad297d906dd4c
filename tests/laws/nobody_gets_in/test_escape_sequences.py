"""Attack: a text from outside steers the terminal that shows it, or hides in it."""

import json
import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from pgwindlass.report.console import Console
from pgwindlass.report.markdown import code, fence
from pgwindlass.report.runner_commands import workflow_command
from tests.fix_runner import Job
from tests.kit import Project

pytestmark = pytest.mark.attack
SEQUENCES = {
    "clear": "\x1b[2J\x1b[H",
    "colour": "\x1b[8m",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "C1": "\x9b31m",
    "over the line": "failed\rall is well",
    "backspace": "no\x08\x08ok",
    "bell": "\x07",
    "right to left": "\u202egnp.exe",
    "isolate": "\u2066x\u2069",
    "zero width": "a\u200bb",
    "tag": "\U000e0041\U000e0042",
    "line separator": "a\u2028b",
}
STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    return project


@pytest.mark.unit
@pytest.mark.parametrize("kind", SEQUENCES)
def test_the_console_shows_it_and_does_not_obey(kind: str) -> None:
    stream = StringIO()
    console = Console(stream)

    console.say(f"server: {SEQUENCES[kind]}")
    console.note(SEQUENCES[kind])

    assert not STEERS.search(stream.getvalue())
    assert "\\" in stream.getvalue()


@pytest.mark.unit
@pytest.mark.parametrize("kind", SEQUENCES)
def test_an_annotation_and_a_summary_carry_none(kind: str) -> None:
    text = SEQUENCES[kind]

    assert not STEERS.search(workflow_command("error", text, title=text))
    shown = code(text) + fence(text)
    assert not re.search("[\x1b\x07\x08\x80-\x9f\u202e\u2066\u200b]", shown)


@pytest.mark.parametrize("flags", [(), ("--debug",), ("--json",)])
def test_a_servers_error_does_not_steer_the_terminal(
    project: Project, flags: tuple[str, ...]
) -> None:
    text = "".join(SEQUENCES.values()).replace("\x00", "")
    codes = ",".join(str(ord(character)) for character in text)
    project.migration(
        "20260802_000000_b",
        "do $$ declare t text; begin "
        f"select string_agg(chr(c), '' order by n) into t from "
        f"unnest(array[{codes}]) with ordinality as u(c, n); "
        "raise notice '%', t; raise exception '%', t; end $$;",
        "select 1;",
    )

    ran = project.run("deploy", "--env", "dev", *flags)

    assert ran.code == 1
    assert "owned" in ran.err
    assert not STEERS.search(ran.err + ran.out)
    if "--json" in flags:
        assert "\x1b]0;owned\x07" in json.loads(ran.out)["error"]["what"]
    assert not STEERS.search(project.run("history", "--env", "dev").out)


def test_a_programs_output_does_not_steer_the_terminal(project: Project) -> None:
    (project.home / "restart.py").write_text(
        f"import sys; sys.stderr.write({''.join(SEQUENCES.values())!r}); sys.exit(1)"
    )

    ran = project.run("restart", "--env", "production", PYTHONIOENCODING="utf-8")

    assert ran.code == 1
    assert "owned" in ran.err
    assert not STEERS.search(ran.err + ran.out)


def test_a_migration_does_not_steer_the_terminal(project: Project) -> None:
    project.migration(
        "20260802_000000_b",
        "-- windlass: allow truncate \x1b[2J\u202e because\nselect '\x1b]0;owned\x07';\ntruncat a;",
        "select 1;",
    )

    for arguments in (("lint",), ("plan", "--env", "dev"), ("migrate", "--env", "dev")):
        ran = project.run(*arguments)

        assert ran.code == 2
        assert not STEERS.search(ran.err + ran.out)


def test_a_plan_that_is_shown_does_not_steer_the_terminal(project: Project) -> None:
    project.migration("20260802_000000_b", "select '\x1b]0;owned\x07\u202e';", "select 1;")

    for arguments in (
        ("plan", "--env", "dev"),
        ("plan", "--env", "dev", "--json"),
        ("migrate", "--env", "dev", "--dry-run"),
    ):
        ran = project.run(*arguments)

        assert ran.code == 0
        assert not STEERS.search(ran.err + ran.out)


def test_a_commit_and_an_actor_do_not_steer_the_terminal(project: Project) -> None:
    subprocess.run(["git", "init", "-q", str(project.home)], check=True)

    job = Job(project)
    ran = job.run("deploy", "--env", "dev", GITHUB_ACTOR="ann\x1b[2J\u202e", GITHUB_SHA="c\x07" * 9)
    shown = project.run("history", "--env", "dev")

    assert ran.code == 0, ran.err
    assert not STEERS.search(ran.err + ran.out + shown.out + shown.err)
    assert "\x1b" not in job.summary
