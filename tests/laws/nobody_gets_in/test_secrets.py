"""Attack: a secret comes out in another spelling, from another place, or through a plan."""

import base64
import html
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
import pytest

from pgwindlass import secret
from pgwindlass.database.connection import Database
from pgwindlass.secret import redact, remember
from tests.fix_runner import Job
from tests.kit import Project

pytestmark = pytest.mark.attack

# One with every sign that some program writes otherwise, one with none of them.
VALUE = "p'w\"\\é</&%+ x7"
THIRD = "??>>~~ÿ-third-1"
PLAIN = "pl4in-of-signs-9Q"


@pytest.fixture
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(secret, "_known", set())
    yield


def _middle(text: str, before: int) -> str:
    """Return a value in base64 as it is in the middle of a longer text."""
    return base64.b64encode(b"user:abc"[:before] + text.encode() + b" and more").decode()


SPELLINGS = {
    "SQL": VALUE.replace("'", "''"),
    "E'' with a backslash": VALUE.replace("\\", "\\\\").replace("'", "\\'"),
    "E'' doubled": VALUE.replace("\\", "\\\\").replace("'", "''"),
    "libpq": VALUE.replace("\\", "\\\\").replace("'", "\\'"),
    "dollar quotes": f"$x${VALUE}$x$",
    "repr": repr(VALUE)[1:-1],
    "repr of bytes": repr(VALUE.encode())[2:-1],
    "ascii": ascii(VALUE)[1:-1],
    "JSON": json.dumps(VALUE)[1:-1],
    "JSON, not ASCII": json.dumps(VALUE, ensure_ascii=False)[1:-1],
    "JSON with \\/": json.dumps(VALUE)[1:-1].replace("/", "\\/"),
    "JSON in HTML": json.dumps(VALUE)[1:-1]
    .replace("<", "\\u003c")
    .replace("&", "\\u0026")
    .replace("'", "\\u0027"),
    "SQL in JSON": json.dumps(VALUE.replace("'", "''"))[1:-1],
    "XML": html.escape(VALUE, quote=False),
    "HTML": html.escape(VALUE),
    "HTML by numbers": html.escape(VALUE).replace("&#x27;", "&#39;"),
    "XML attribute": html.escape(VALUE).replace("&#x27;", "&apos;"),
    "URL": quote(VALUE, safe=""),
    "URL, small": quote(VALUE, safe="").replace("%C3%A9", "%c3%a9").lower().replace("x7", "x7"),
    "form": quote_plus(VALUE),
    "URL in a URL": quote(quote(VALUE, safe=""), safe=""),
    "hex": VALUE.encode().hex(),
    "HEX": VALUE.encode().hex().upper(),
    "bytea": f"\\x{PLAIN.encode().hex()}",
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(THIRD.encode()).decode(),
    "base64 from byte 0": _middle(PLAIN, 3),
    "base64 from byte 1": _middle(PLAIN, 4),
    "base64 from byte 2": _middle(PLAIN, 5),
    "wrapped base64": "\n".join(
        _middle(PLAIN * 2, 3)[at : at + 20] for at in range(0, len(_middle(PLAIN * 2, 3)), 20)
    ),
    "wrapped hex": f"{PLAIN.encode().hex()[:20]}\n  {PLAIN.encode().hex()[20:]}",
    "in colours": f"{PLAIN[:4]}\x1b[31m{PLAIN[4:]}\x1b[0m",
    "in a link": f"{PLAIN[:4]}\x1b]8;;http://x\x07{PLAIN[4:]}",
    "invisible signs": "\u200b".join(PLAIN),
    "backspaces": f"{PLAIN[:4]}\x00{PLAIN[4:]}",
}


@pytest.mark.unit
@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_comes_out_in_no_spelling(spelling: str) -> None:
    remember(VALUE)
    remember(THIRD)
    remember(PLAIN)
    text = SPELLINGS[spelling]

    shown = redact(f"log: {text} :end")

    assert "***" in shown
    left = "".join(c for c in shown.removeprefix("log: ").removesuffix(" :end") if c.isalnum())
    assert len(left) <= len("".join(c for c in text if c.isalnum())) / 2 + 2
    assert PLAIN[5:] not in shown


@pytest.mark.unit
@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("STATEMENT:  ALTER ROLE app PASSWORD 'never-told-us'", "never-told-us"),
        ("create user a encrypted password 'it''s-a-word' valid until 'x'", "s-a-word"),
        ("execute 'create role x password ''inner-one'' login'", "inner-one"),
        ("PASSWORD E'with\\'quote' x", "quote"),
        ("do $$ alter role a password $p$dollar-one$p$ $$", "dollar-one"),
        ('{"query": "alter role a password \'in-json\'"}', "in-json"),
        ("host=db password=of-libpq dbname=x", "of-libpq"),
        ("host=db password='of \\'libpq' dbname=x", "libpq"),
        ('connection to "postgresql://u:of-a-url@h/d" failed', "of-a-url"),
        ("clone https://bot:of-git@host/x.git", "of-git"),
    ],
)
def test_a_password_nobody_told_us_is_taken_out_where_it_stands(text: str, password: str) -> None:
    shown = redact(text)

    assert password not in shown
    assert "***" in shown
    if text.startswith("{"):
        json.loads(shown)


@pytest.mark.unit
@pytest.mark.usefixtures("_forgotten")
def test_a_long_log_is_searched_in_no_more_than_seconds() -> None:
    for number in range(30):
        remember(f"s3cret-number-{number}-of-a-log")
    log = "".join(f"2026-11-30 12:00:00 INFO request {n} took {n % 97} ms\n" for n in range(40_000))

    began = time.process_time()
    shown = redact(f"{log}s3cret-number-7-of-a-log{log}")

    assert time.process_time() - began < 5  # 0.4 s here; a search for each value takes 20
    assert shown.count("***") == 1


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    return project


# Where a variable's value may go, with no name that says what it is.
PLACES = {
    "header": ('headers: {X-Shop: "${SHOP}"}', ""),
    "body": ('json: {shop: {deep: ["${SHOP}"]}}', ""),
    "query": ("", "/health?shop=${SHOP}"),
    "userinfo": ("", ""),
}
PLANTED = "pl4nted-without-a-name"


@pytest.mark.parametrize("place", PLACES)
def test_what_came_through_a_variable_into_a_request_is_not_shown(
    project: Project, place: str
) -> None:
    more, path = PLACES[place]
    text = project.deploy_yml.read_text()
    wanted = f'{{get: "{path or "/health"}", {more or "headers: {X-A: b}"}, expect:'
    text = text.replace("{get: /health, expect:", wanted)
    if place == "userinfo":
        text = text.replace("http://127.0.0.1:9", "http://me:${SHOP}@127.0.0.1:9")
    project.deploy_yml.write_text(text.replace("deadline: 3s", "deadline: 100ms"))
    # A stray program on the way says what it knows.
    (project.home / "restart.py").write_text(
        f"import sys; sys.exit('not restarted: {PLANTED[:4]}' + '{PLANTED[4:]}')"
    )
    job = Job(project)

    ran = [job.run(verb, "--env", "production", SHOP=PLANTED) for verb in ("restart", "smoke")]

    assert [one.code for one in ran] == [1, 1]
    seen = "\n".join(line for one in ran for line in one.err.splitlines() if "add-mask" not in line)
    assert "not restarted: ***" in seen
    assert PLANTED not in seen + job.summary + "".join(one.out for one in ran)


@pytest.mark.parametrize("literal", [False, True])
def test_the_userinfo_of_an_address_is_in_no_output_and_no_plan(
    project: Project, literal: bool
) -> None:
    address = "http://me:us3rinfo-of-it@127.0.0.1:9"
    text = project.deploy_yml.read_text()
    written = address if literal else "${SHOP_ADDRESS}"
    text = text.replace("http://127.0.0.1:9", written).replace("deadline: 3s", "deadline: 100ms")
    project.deploy_yml.write_text(text.replace("approval: {from: terminal}", "on_failure: stop"))
    project.deploy_yml.write_text(
        project.deploy_yml.read_text().replace("tier: production", "tier: development")
    )
    job = Job(project)
    variables = {"SHOP_ADDRESS": address}

    planned = job.run("plan", "--env", "production", "--out", "plan.json", **variables)
    deployed = job.run("deploy", "--env", "production", **variables)

    assert (planned.code, deployed.code) == (0, 1)
    seen = "\n".join(
        line for line in (planned.err + deployed.err).splitlines() if "add-mask" not in line
    )
    seen += planned.out + deployed.out + job.summary + str(job.outputs)
    seen += (project.home / "plan.json").read_text()
    assert job.outputs["url"] == "http://127.0.0.1:9"
    assert "us3rinfo" not in seen


def test_an_argument_from_a_variable_is_not_shown(project: Project) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace('/restart.py"]', '/restart.py", "--x=${SHOP}"]'))
    (project.home / "restart.py").write_text("import sys; sys.exit(f'refused {sys.argv}')")

    for flags in ((), ("--debug",), ("--json",)):
        ran = project.run("restart", "--env", "production", *flags, SHOP=PLANTED)

        assert ran.code == 1
        assert "refused" in ran.err
        assert PLANTED not in ran.err + ran.out


def test_a_secret_too_short_to_be_hidden_is_refused_above_development(project: Project) -> None:
    text = project.deploy_yml.read_text()
    text = text.replace("{get: /health,", '{get: /health, bearer: "${SHORT}",')
    project.deploy_yml.write_text(text)

    ran = project.run("smoke", "--env", "production", SHORT="pw1")

    assert ran.code == 2
    assert ran.error()[0] == (
        "✗ deploy.yml:29: environments.production.smoke.checks.0.bearer: the secret in SHORT has 3 "
        "characters, and only those of 4 or more can be kept out of logs"
    )


LITERALS = {
    "role": "create role r_{name} login password 'of-a-r0le'; drop role r_{name};",
    "word": "create role r_{name} login password 'geheimnis'; drop role r_{name};",
    "DO block": "do $$ begin execute 'create role r_{name} password ''of-a-r0le'''; "
    "execute 'drop role r_{name}'; end $$;",
    "dblink": "create function f() returns void language plpgsql as "
    "$f$ begin perform dblink_connect('host=h password=of-a-r0le'); end $f$;",
    "key of a setting": "set local app.jwt_secret = 'of-a-r0le';",
}


@pytest.mark.parametrize("form", LITERALS)
def test_a_password_in_a_migration_is_an_error_and_stands_in_no_plan(
    project: Project, form: str
) -> None:
    sql = LITERALS[form].replace("{name}", project.home.parent.name.replace("-", "_")[-20:])
    project.migration("20260802_000000_b", sql, "select 1;")

    linted = project.run("lint", "--env", "uat")
    planned = project.run("plan", "--env", "uat", "--out", "plan.json")
    shown = project.run("plan", "--env", "uat", "--json")
    deployed = project.run("deploy", "--env", "uat")

    assert linted.code != 0
    assert "password-literal" in linted.out + linted.err
    assert planned.code == 3
    assert "✗ the text of 20260802_000000_b has" in planned.err
    assert not (project.home / "plan.json").exists()
    assert deployed.code == 3
    runs = [linted, planned, deployed]
    # The value of a setting is no password to a reader of plain text, and is not masked.
    runs += [] if form == "key of a setting" else [shown]
    seen = "".join(ran.out + ran.err for ran in runs)
    assert "of-a-r0le" not in seen
    assert "geheimnis" not in seen


def test_a_secret_of_the_environment_stands_in_no_plan_however_it_is_written(
    project: Project,
) -> None:
    value = "of-the-environment-7'"
    in_base64 = base64.b64encode(value.encode()).decode()
    for number, text in enumerate(("''".join(value.split("'")), value.encode().hex(), in_base64)):
        name = project.migration(f"20260802_00000{number}_b", f"select '{text}';", "select 1;")

        ran = project.run("plan", "--env", "uat", "--out", "plan.json", SHOP_PASSWORD=value)

        assert (ran.code, (project.home / "plan.json").exists()) == (3, False)
        project.script(name).unlink()
        project.script(name, "_rollback").unlink()


def test_the_journal_keeps_no_password_of_a_role(project: Project) -> None:
    project.migration(
        "20260802_000000_b", "create role r_{0} password 'geheimnis'; drop role r_{0};", "select 1;"
    )
    name = project.script("20260802_000000_b")
    name.write_text(name.read_text().replace("{0}", "of_the_journal"))

    ran = project.run("deploy", "--env", "dev")

    assert ran.code == 0, ran.err
    with psycopg.connect(project.url) as connection:
        rows = connection.execute("select t::text from windlass.deployment t").fetchall()
    assert "geheimnis" not in str(rows)
    assert "r_of_the_journal" in str(rows)
    assert "***" in str(rows)


def test_a_traceback_shows_no_password_of_a_role(project: Project) -> None:
    project.migration(
        "20260802_000000_b",
        "do $$ begin raise exception 'alter role app password ''geheimnis'' failed'; end $$;",
        "select 1;",
    )

    ran = project.run("migrate", "--env", "dev", "--debug")

    assert ran.code == 1
    assert "geheimnis" not in ran.err
