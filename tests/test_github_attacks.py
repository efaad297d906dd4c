"""What comes from outside cannot speak to GitHub's runner, on either stream, token or no token."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from tests.fix_alembic import AlembicProject
from tests.fix_runner import Heard, Job, heard
from tests.kit import Project, Ran

A = "20260801_000000_a"
SPOKEN = (
    "::error::spoken",
    "  ::warning file=x::spoken",
    "##[error]spoken",
    "in ##[add-mask]spoken",
    "::set-output name=x::spoken",
    "::add-mask::spoken",
    "::stop-commands::spoken",
    "::spoken::",
    "\r::notice::spoken",
    "\n::group::spoken",
    "\u00a0::debug::spoken",
)


@pytest.fixture
def job(tmp_path: Path, database16: Database) -> Job:
    return Job(Project(tmp_path / "shop", database16.url.reveal()))


def literal(text: str) -> str:
    return "E'" + text.replace("\n", "\\n").replace("\r", "\\r") + "'"


def silent(ran: Ran) -> Heard:
    """Return what was heard; nobody but us may have been, however the streams are read."""
    for stops in (True, False):
        for streams in ((ran.err,), (ran.out,), (ran.err, ran.out), (ran.out, ran.err)):
            for name, properties, data in heard(*streams, stops=stops).obeyed:
                assert (
                    name
                    in (
                        "error",
                        "warning",
                        "notice",
                        "add-mask",
                        "stop-commands",
                        "group",
                        "endgroup",
                    )
                    or not data
                ), name
                assert not data.startswith("spoken")
                assert (
                    properties.startswith(("title=", "file=shop/", "file=error_events/"))
                    or not properties
                )
                assert "%0D::" not in properties
    return heard(ran.err, ran.out)


def test_notices_and_errors_of_the_server_cannot_speak(job: Job) -> None:
    notices = "\n".join(f"raise notice '%', {literal(text)};" for text in SPOKEN)
    error = literal("x" + "".join(f"\n{text}" for text in SPOKEN))
    job.project.migration(
        A,
        f"do $$ begin {notices} raise exception using message = {error}, detail = {error},"
        f" hint = {error}; end $$;",
        "select 1;",
    )

    for arguments in (("deploy", "--debug"), ("deploy", "--json")):
        ran = job.run(*arguments, "--env", "dev")
        assert ran.code == 1
        silent(ran)
    newest = job.outputs["deployment"]
    told = job.run("history", "--env", "dev", "--deployment", newest)
    silent(told)
    assert "spoken" in told.out


def test_texts_and_names_of_files_cannot_speak(job: Job) -> None:
    body = "\n".join(f"-- {text.strip()}\n/*\n{text}\n*/" for text in SPOKEN)
    job.project.migration(
        A,
        f"-- Description: ##[error]spoken\n{body}\n"
        'alter table "::error::spoken" add a int;\ntruncate only t;',
        f"{body}\nselect 1;",
    )

    for arguments in (("plan",), ("lint",), ("deploy", "--json")):
        ran = job.run(*arguments, "--env", "dev")
        silent(ran)
        assert arguments == ("lint",) or "spoken" in ran.out + ran.err
    (job.project.migrations / "::error::spoken.sql").write_text("select 1;")
    (job.project.migrations / "20260802_000000_##[error]spoken.sql").write_text("select 1;")
    silent(job.run("status", "--env", "dev"))
    silent(job.run("deploy", "--env", "::error::spoken"))
    job.project.deploy_yml.write_text('environments: {"\\n::error::spoken": {tier: x}}')
    silent(job.run("deploy", "--env", "\n::error::spoken"))


def test_what_a_restart_prints_cannot_speak(job: Job) -> None:
    script = job.project.home / "restart.py"
    script.write_text(
        f"import sys\ntexts = {SPOKEN!r}\nfor text in texts:\n    print(text)\n"
        "    print(text, file=sys.stderr)\nsys.exit(3)\n"
    )

    ran = job.run("restart", "--env", "production")

    assert ran.code == 1
    assert "spoken" in ran.err
    silent(ran)


def test_all_of_standard_error_is_told_while_commands_are_stopped(job: Job) -> None:
    job.project.migration(A, "do $$ begin raise exception 'spoken'; end $$;", "select 1;")

    ran = job.run("deploy", "--env", "dev")

    first, *_, resumed = (
        line
        for line in ran.err.splitlines()
        if not line.startswith(("::error", "::warning", "::add-mask"))
    )
    token = first.removeprefix("::stop-commands::")
    assert first != token
    assert resumed == f"::{token}::"
    assert ran.err.count(token) == 2
    assert token not in ran.out
    assert token not in job.run("status", "--env", "dev").err


def test_a_traceback_and_a_warning_of_a_library_cannot_speak(job: Job) -> None:
    job.project.migration(A, "select 1;", "select 1;")
    (job.project.home / "sitecustomize.py").write_text(
        "import atexit, logging, warnings\n"
        "import pgwindlass.config\n"
        "def load(path):\n"
        "    warnings.warn('x\\n::error::spoken', stacklevel=1)\n"
        "    logging.getLogger('y').error('##[error]spoken')\n"
        "    raise RuntimeError('x\\n::error::spoken')\n"
        "pgwindlass.config.load = load\n"
    )

    ran = job.run_cold("status", "--env", "dev", "--debug", PYTHONPATH=str(job.project.home))

    assert ran.code == 1
    assert ran.err.count("spoken") >= 3
    silent(ran)


def test_what_a_revision_prints_cannot_speak_and_shows_no_secret(
    alembic: Callable[..., AlembicProject],
) -> None:
    found = alembic("error_events")
    found.set("  url_variable:", "  environment: [API_TOKEN]\n  url_variable:")
    prints = f"import os, sys\nfor text in {SPOKEN!r}:\n    print(text + os.environ['API_TOKEN'])\n"
    prints += "    print(text, file=sys.stderr)\n"
    found.revision("second", "1a2b3c4d5e6f", prints + "raise ValueError('x\\n::error::spoken')")

    ran = Job(found.project).run("deploy", "--env", "dev", API_TOKEN="t0ken-of-the-service")

    assert ran.code == 1
    assert "spoken" in ran.err
    silent(ran)
    assert "t0ken-of-the-service" not in ran.err.replace("::add-mask::t0ken-of-the-service", "")
