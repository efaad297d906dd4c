"""What is dangerous in a migration: on the text alone, with the catalog, and graded by size."""

import subprocess
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.engines import HISTORIES
from pgwindlass.errors import StepFailed
from pgwindlass.lint import live, severity, squawk, statements
from pgwindlass.lint.catalog import Catalog
from pgwindlass.parser.file import SqlFile, parse
from tests.fix_postgres import Server
from tests.kit import ROOT, Project

PATH = Path("migrations/20260801_000000_x.sql")
TRIGGER = "create trigger tr before insert"
CALLS = "for each row execute function f()"
ALLOWED = "-- windlass: allow not-valid-constraint the next release validates it\n"
AFTER = "-- windlass: phase=after\n"


def rules(text: str) -> list[str]:
    """What is found in a text where no database is asked; several by their lines."""
    return listed([parse(PATH, text)], None)


def listed(files: list[SqlFile], catalog: Catalog | None) -> list[str]:
    found = severity.listed(statements.lint_files(files, catalog, HISTORIES))
    return [one.rule for one in found]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        # unknown: their text does not say what they do
        ("do $$ begin end $$", "opaque"),
        ("select drop_everything()", "opaque"),
        ("call do_it(1)", "opaque"),
        ("execute prepared", "opaque"),
        # what copies, empties or locks a table
        ("truncate t", "truncate"),
        ("cluster t using i", "cluster"),
        ("vacuum full t", "vacuum-full"),
        ("alter table t set unlogged", "set-unlogged"),
        ("alter table t set logged", "set-logged"),
        ("alter table t set tablespace fast", "set-tablespace"),
        ("alter table t set access method heap", "set-access-method"),
        ("lock table t", "lock-table"),
        ("refresh materialized view m", "refresh-locks"),
        ("alter system set work_mem = '1GB'", "alter-system"),
        ("drop owned by joe", "drop-owned"),
        # adding columns
        ("alter table t add column x bigserial", "add-serial"),
        ("alter table t add column x int generated always as identity", "add-identity"),
        ("alter table t add column x int generated always as (a * 2) stored", "add-generated"),
        ("alter table t add column x int check (x > 0)", "add-column-check"),
        ("alter table t add column x float default random()", "volatile-default"),
        ("alter table t add column x uuid default gen_random_uuid()", "volatile-default"),
        ("alter table t add column x int not null", "adding-required-field"),
        ("alter table t add column x int unique", "disallowed-unique-constraint"),
        ("alter table t add column x int default 1 references p", "adding-foreign-key-constraint"),
        # the shape of a transaction
        ("alter table t add column x int;\nupdate u set a = 1 where b = 2", "work-under-lock"),
        ("alter table t add column x int;\nalter table u add column x int", "several-tables"),
        (f"{TRIGGER} on t {CALLS};\nupdate u set a = 1 where b = 2", "work-under-lock"),
        (f"{TRIGGER} on t {CALLS};\n{TRIGGER} on u {CALLS}", "several-tables"),
        (f"{AFTER}drop table t;\nupdate u set a = 1 where b = 2", "work-under-lock"),
        (f"{AFTER}drop table t;\ndrop table s.u", "several-tables"),
        (f"{AFTER}alter table t add column x int;\ndrop table u, t", "several-tables"),
        ("alter type m add value 'x';\nupdate t set a = 'x' where b = 1", "enum-used-at-once"),
        # partitions, and tables that are referred to
        ("create table q partition of p for values in (1)", "partition-of"),
        ("alter table p attach partition q for values in (1)", "attach-scan"),
        ("create table n (id int references t)", "references-locks"),
        # every row
        ("update t set a = 1", "every-row"),
        ("delete from t", "every-row"),
        ("alter domain d set not null", "domain-scan"),
        ("alter domain d add constraint c check (value > 0)", "domain-scan"),
        # squawk's
        ("create index i on t (a)", "require-concurrent-index-creation"),
        ("drop index i", "require-concurrent-index-deletion"),
        ("reindex table t", "require-concurrent-reindex"),
        ("alter table p detach partition q", "require-concurrent-partition-detach"),
        ("alter table t drop column a", "ban-drop-column"),
        ("alter table t alter column a type text", "changing-column-type"),
        ("alter table t alter column a set not null", "adding-not-nullable-field"),
        ("alter table t add constraint c check (a > 0)", "constraint-missing-not-valid"),
        ("alter table t add constraint c unique (a)", "disallowed-unique-constraint"),
        (
            "alter table t add constraint f foreign key (a) references p",
            "adding-foreign-key-constraint",
        ),
        ("drop table t", "ban-drop-table"),
        ("alter table t rename column a to b", "renaming-column"),
        ("alter table t rename to u", "renaming-table"),
        ("create domain d as int check (value > 0)", "ban-create-domain-with-constraint"),
    ],
)
def test_a_dangerous_statement_is_found(text: str, rule: str) -> None:
    assert rules(f"\n{text};") == [rule]


def test_a_finding_has_the_line_of_its_place_and_of_its_statement() -> None:
    text = "select 1;\n\nalter table t\n  add column a int,\n  drop column b;"
    (found,) = statements.lint_files([parse(PATH, text)], None, HISTORIES)

    assert (found.line, found.statement, found.table) == (5, 3, "t")
    assert str(found) == (
        f"{PATH}:5: warning: Dropping a column may break existing clients: "
        "invoke create --recipe drop-column --table public.t --column b [ban-drop-column]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "create table t (a int); create index i on t (a)",
        "create table t (a int); alter table t add column b serial; update t set a = 1",
        "create index concurrently i on t (a)",
        "update t set a = 1 where a is null",
        "insert into t values (1)",
        "alter table t add column a int;\ninsert into t values (1)",
        "-- windlass: phase=after\nalter table t drop column a",
        f"{ALLOWED}alter table t add constraint c check (a > 0) not valid",
        f"{ALLOWED}alter table t add constraint c foreign key (a) references p not valid",
        "alter table t add column a int",
        "alter table t add column x int references p",
        "alter table t add column a timestamptz default now()",
        "alter table t add column a int default 7",
        "alter table t add column a int generated always as (b * 2) virtual",
        "alter table t add column a int; alter table t add column b int",
        f"alter table t add column a int; {TRIGGER} on t {CALLS}",
        f"create table t (a int); {TRIGGER} on t {CALLS}; alter table u add column a int",
        f"{AFTER}create table n (a int); drop table n; drop table t",
        f"{AFTER}drop view v; create view v as select 1; alter table t add column a int",
        "select setval('s', 10)",
        "select count(*) from t",
        "refresh materialized view concurrently m",
        "alter type m add value 'x'",
        "alter domain d add constraint c check (value > 0) not valid",
        "create table p (a int) partition by list (a); create table q partition of p default",
    ],
)
def test_the_safe_form_is_silent(text: str) -> None:
    assert rules(text) == []


def test_an_allowance_is_for_the_statement_below_it_and_in_the_head_for_the_file() -> None:
    two = "truncate t;\n{}truncate u;"
    above = two.format("-- windlass: allow truncate it is a cache\n")

    found = statements.lint_files([parse(PATH, above)], None, HISTORIES)
    assert [(one.rule, one.line) for one in found] == [("truncate", 1), ("several-tables", 3)]
    head = f"-- windlass: allow truncate both are caches\n{two.format('')}"
    assert rules(head) == ["several-tables"]


def test_an_allowance_above_a_line_is_for_its_first_statement() -> None:
    text = "select 1;\n-- windlass: allow truncate it is a cache\ntruncate t; truncate u;"

    found = statements.lint_files([parse(PATH, text)], None, HISTORIES)

    assert [(one.rule, one.number) for one in found if one.rule == "truncate"] == [("truncate", 3)]


def test_an_allowance_that_nothing_needs_is_reported() -> None:
    text = "-- windlass: allow ban-drop-column gone since May\nselect 1;"

    (found,) = statements.lint_files([parse(PATH, text)], None, HISTORIES)

    assert str(found) == (
        f"{PATH}:1: warning: allows ban-drop-column, which nothing here breaks: take it out "
        "[stale-allow]"
    )
    for later in (
        "long-lock",
        "hot-table",
        "invalid-index",
        "volatile-default",
    ):  # others know of these
        assert rules(f"-- windlass: allow {later} a reason\nselect 1;") == []


def test_a_volatile_default_that_is_allowed_is_known_to_be_stale_by_the_catalog(
    database16: Database,
) -> None:
    text = "-- windlass: allow volatile-default a reason\nselect 1;"
    assert rules_in(database16, text) == ["stale-allow"]


def test_what_squawk_cannot_read_is_unknown() -> None:
    text = "alter table t add column x int;\ncreate table y (a int, b int, period for c (a, b));"
    file = parse(PATH, "select 1;")
    unread = [replace(file.statements[0], sql=part) for part in text.split(";")]
    (broken, *_) = squawk.squawk_says([replace(file, statements=tuple(unread))], 0)[PATH]

    assert (broken.rule, broken.number, broken.line) == ("syntax-error", 1, 2)


def test_squawk_is_found_where_it_was_installed_not_where_this_python_has_its_scripts(
    tmp_path: Path,
) -> None:
    """A virtual environment of its own that sees our packages, and has no squawk in its bin."""
    made = venv.EnvBuilder(symlinks=True)
    made.create(tmp_path / "venv")
    (packages,) = (tmp_path / "venv").glob("lib/*/site-packages")
    ours = sysconfig.get_path("purelib")  # as a site directory: the package is installed editable
    (packages / "ours.pth").write_text(f"{ROOT}\nimport site; site.addsitedir({ours!r})\n")
    lint = "from tests.test_lint import rules\nprint(rules('drop table t'))"

    printed = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", lint],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert printed.stdout == "['ban-drop-table']\n", printed.stderr


def test_without_squawk_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squawk, "PACKAGE", "squawk-of-nobody")

    with pytest.raises(StepFailed, match="the package squawk-of-nobody is not installed") as caught:
        rules("select 1")

    assert caught.value.next_step.endswith("pip install squawk-of-nobody")


# -- with the catalog ------------------------------------------------------------------------------

STANDS = """
create domain positive as int check (value > 0);
create domain plain as int;
create table p (id int primary key);
create table t (
    id int primary key, a int, b text, c varchar(10), n numeric(10, 2), j cidr, k int, ts timestamp,
    constraint known check (k is not null),
    constraint maybe check (a is not null or b is not null)
);
create unique index t_a on t (a);
create unique index t_id on t (id);
create index t_k on t (k);
create table part (id int) partition by list (id);
create function mine() returns int language sql volatile as 'select 1';
create function steady() returns int language sql stable as 'select 1';
"""


def rules_in(database: Database, text: str) -> list[str]:
    """What is found in a text, given the tables above."""
    file = parse(PATH, text)
    with database.connect("test") as connection:
        connection.execute(STANDS.encode())
        catalog = live.read_catalog(connection, [file], ("public",))
    return listed([file], catalog)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("alter table t add column x positive", ["add-column-domain"]),
        ("alter table t add column x plain", []),
        ("alter table t add column x int default mine()", ["volatile-default"]),
        ("alter table t add column x int default steady()", []),
        ("alter table t add constraint pk primary key using index t_a", ["primary-key-scan"]),
        ("alter table t add constraint pk primary key using index t_id", []),
        (
            f"{ALLOWED}alter table t add constraint f foreign key (b) references p not valid",
            ["foreign-key-no-index"],
        ),
        (f"{ALLOWED}alter table t add constraint f foreign key (k) references p not valid", []),
        ("create index concurrently i on part (id)", ["concurrently-on-partitioned"]),
        ("alter table t alter k set not null", []),
        ("alter table t alter a set not null", ["adding-not-nullable-field"]),
        ("alter table t alter c type varchar(20)", []),
        ("alter table t alter c type varchar(5)", ["changing-column-type"]),
        ("alter table t alter c type varchar", []),
        ("alter table t alter c type text", []),
        ("alter table t alter c type text using lower(c)", ["changing-column-type"]),
        ("alter table t alter b type varchar", ["changing-column-type"]),  # its CHECK is tested
        ("alter table t alter b type varchar(10)", ["changing-column-type"]),
        ("alter table t alter n type numeric(12, 2)", []),
        ("alter table t alter n type numeric(12, 3)", ["changing-column-type"]),
        ("alter table t alter n type numeric", []),
        ("alter table t alter j type inet", []),
        ("alter table t alter ts type timestamptz", []),
        ("alter table t alter a type bigint", ["changing-column-type"]),
        ("alter table t add column x int generated always as (a * 2)", ["add-generated"]),
        ("select mine()", ["opaque"]),
        ("select pg_catalog.lower('A')", []),
    ],
)
def test_the_catalog_knows_better(database16: Database, text: str, found: list[str]) -> None:
    assert rules_in(database16, text) == found


def test_a_generated_column_is_virtual_since_18(
    servers: Callable[[int], Server], new_database: Callable[[Server], Database]
) -> None:
    database = new_database(servers(18))

    assert rules_in(database, "alter table t add column x int generated always as (a * 2)") == []


# -- graded ----------------------------------------------------------------------------------------


NEXT = "20260802_000000_next"


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    found = Project(tmp_path / "shop", database16.url.reveal())
    found.migration("20260801_000000_base", "create table t (a int);", "drop table t;")
    assert found.run("deploy", "--env", "dev").code == 0
    return found


def test_what_a_rehearsal_saw_decides(project: Project) -> None:
    """t has 300,000 rows, 10.8 MB; a default that looks volatile to the text, and a DO block."""
    with psycopg.connect(project.url) as connection:
        connection.execute("insert into t select generate_series(1, 300000)")
    text = "do $$ begin perform 1; end $$;\nalter table t alter a type bigint;"
    project.migration(NEXT, text, "alter table t alter a type int;")
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("analyze t")

    before = project.json("lint", "--env", "uat")
    project.json("rehearse", "--env", "uat")
    after = project.json("lint", "--env", "uat")

    assert [(one["level"], one["rule"]) for one in before] == [
        ("unknown", "opaque"),
        ("warning", "changing-column-type"),
    ]
    assert "about 300,000 rows, 10.9 MB" in before[1]["message"]
    assert [(one["level"], one["rule"]) for one in after] == [
        ("warning", "changing-column-type"),
        ("note", "opaque"),
    ]
    assert "it ran in the rehearsal" in after[1]["message"]


def test_what_the_copy_saw_nothing_of_is_a_note(project: Project) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("insert into t select generate_series(1, 300000)")
        connection.execute("analyze t")
    text = "update t set a = a where false;\nupdate t set a = 1 + a where a < 0 and 1 = 0;"
    project.migration(
        NEXT,
        f"create temp table x as select 1;\ndelete from only t;\n{text}",
        "insert into t select generate_series(1, 300000);",
    )
    project.json("rehearse", "--env", "uat")
    (found,) = [f for f in project.json("lint", "--env", "uat") if f["rule"] == "every-row"]
    assert found["level"] == "warning"

    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("delete from t")
    project.run("backup", "--env", "uat")
    project.json("rehearse", "--env", "uat")
    (found,) = [f for f in project.json("lint", "--env", "uat") if f["rule"] == "every-row"]
    assert found["level"] == "note"
    assert "the rehearsal saw none of this work" in found["message"]


def test_production_without_a_rehearsal_stops_at_what_is_unknown(project: Project) -> None:
    project.migration(NEXT, "do $$ begin end $$;", "select 1;")

    ran = project.run("deploy", "--env", "production")

    assert ran.code == 3
    assert f"lint: migrations/{NEXT}.sql:1: unknown: what a DO block does" in ran.err
    assert "-- windlass: allow opaque REASON" in ran.err
    assert project.run("deploy", "--env", "uat").code == 0  # which only tells


def test_where_no_server_can_hold_a_copy_what_is_unknown_is_refused(project: Project) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("steps: {rehearsal: off}", "steps: {}"))
    with psycopg.connect(project.url, autocommit=True) as connection:  # an extension nobody has
        connection.execute("update pg_extension set extname = 'postgis' where extname = 'plpgsql'")
    project.migration(NEXT, "select f();", "select 1;")
    try:
        ran = project.run("deploy", "--env", "production")
    finally:
        with psycopg.connect(project.url, autocommit=True) as connection:
            connection.execute("update pg_extension set extname = 'plpgsql'")

    assert ran.code == 3
    assert "and none is possible: the server here lacks postgis" in ran.err


def test_without_an_environment_the_files_alone_are_read(project: Project) -> None:
    project.migration(NEXT, "truncate t;", "select 1;")

    ran = project.run("lint")

    assert ran.code == 1
    assert ran.out.startswith(f"migrations/{NEXT}.sql:1: error: TRUNCATE deletes every row")


def test_what_the_server_has_no_package_of_is_told_by_lint_and_doctor(project: Project) -> None:
    project.migration(NEXT, "create extension no_such_thing;", "drop extension no_such_thing;")

    linted, doctor = project.run("lint", "--env", "dev"), project.run("doctor", "--env", "dev")

    assert "error: the server has no extension no_such_thing" in linted.out
    assert f"{NEXT} creates the extension no_such_thing, which the server does not have" in (
        doctor.out
    )
