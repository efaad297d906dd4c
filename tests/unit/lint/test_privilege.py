"""What gives somebody a right, or reaches beyond the schema; the attacks are in tests/laws."""

from pathlib import Path

import pytest

from pgwindlass.engines import HISTORIES
from pgwindlass.lint.privilege import privilege_remarks
from pgwindlass.parser.file import parse

pytestmark = pytest.mark.unit

BLOCK = "do $x$ begin {} end $x$"
PASSED = [
    "insert into users (name) select migration_name from schema_migrations",
    "create table app.schema_migrations_log (id int)",
    "insert into app.schema_migrations values (1)",
    "alter table t enable row level security",
    "set local role_name.x = '1'",
    "set local search_path = app",
    "grant select on t to app",
    "revoke all on t from public",
    "revoke execute on function f() from public",
    "alter default privileges revoke execute on functions from public",
    "select setval('s', 1)",
    "create extension if not exists pg_trgm",
    "create extension if not exists pgcrypto",
    "create function f() returns int language sql as $$select 1$$",
    "create function f() returns int language plpgsql security definer "
    "set search_path = pg_catalog as $$begin return 1; end$$",
    "create policy p on t using (true)",
    "drop policy if exists p on t",
    BLOCK.format("-- alter role app superuser\n perform 1;"),
    BLOCK.format("update users set role = 'admin';"),
    "comment on table t is 'alter role is copied to public; see windlass'",
    "update users set role = 'x' where note = 'lo_import set role schema_migrations'",
    "drop table app.schema_migrations",
    "drop trigger schema_migrations_log on t",
    "create view recent as select * from schema_migrations",
    "create table kept as select * from schema_migrations",
    "create schema app",
    "comment on schema windlass is 'ours'",
    "select set_config('work_mem', '1MB', true)",
    "select set_config('app.role', 'role', true)",
    "do language PLPGSQL $x$ begin end $x$",
    "create function f() returns int language sql security invoker as $$select 1$$",
    "create function f() returns text language sql as $$select 'schema_migrations'$$",
    "alter table t force row level security",
]
FOUND = {
    "grant select on t to public": "grants to PUBLIC",
    "set role app": "goes on as another role",
    "set row_security = off": "sets row_security",
    "copy t from program 'id'": "runs a program on the server",
    "copy t from '/x'": "reads or writes a file of the server",
    "create role r": "creates a role",
    "alter role a rename to b": "renames a role",
    "alter table t disable row level security": "disables row security",
    "create extension dblink": "creates the extension dblink, which reaches beyond the database",
    "select lo_import('/x')": "calls lo_import, which reaches beyond the database",
    "create function f() returns int language c as 'a', 'b'": "is in the untrusted language c",
    "do language plperlu $$x$$": "is in the untrusted language plperlu",
    "alter function f() security definer": "is SECURITY DEFINER without a search_path of its own",
    "alter database d set role = 'x'": "sets role for every later session of the database",
    "delete from schema_migrations": "writes to a table of the history",
    "alter table t no force row level security": "disables row security",
    "insert into schema_migrations values (1)": "writes to a table of the history",
    "insert into public.schema_migrations values (1)": "writes to a table of the history",
    "insert into windlass.step values (1)": "writes to a table of the history",
    "update schema_migrations set checksum = ''": "writes to a table of the history",
    "merge into schema_migrations m using t on m.a = t.a when matched then delete": "writes to a "
    "table of the history",
    "with gone as (delete from schema_migrations returning 1) select * from gone": "writes to a "
    "table of the history",
    "create schema windlass": "writes to a table of the history",
    "create view schema_migrations as select 1": "writes to a table of the history",
    "create view windlass.step as select 1": "writes to a table of the history",
    "create table schema_migrations as select 1": "writes to a table of the history",
    "create table windlass.step (id int)": "writes to a table of the history",
    "alter table schema_migrations add column a int": "writes to a table of the history",
    "truncate schema_migrations": "writes to a table of the history",
    "drop table schema_migrations": "writes to a table of the history",
    "drop table public.schema_migrations": "writes to a table of the history",
    "drop table windlass.step": "writes to a table of the history",
    "drop schema windlass": "writes to a table of the history",
    "drop trigger log on schema_migrations": "writes to a table of the history",
    "select set_config('ROLE', 'app', true)": "goes on as another role",
    "create function f() returns void language plpgsql as $$begin alter /* now */ role a superuser;"
    " end$$": "changes a role, in its body",
    BLOCK.format("perform set_config('role', 'app', true);"): "sets a role, in its body",
    BLOCK.format("insert into _prisma_migrations values (1);"): "writes to a table of the history, "
    "in its body",
    BLOCK.format("alter role a superuser;"): "changes a role, in its body",
    BLOCK.format("update only schema_migrations set a = 1;"): "writes to a table of the history, "
    "in its body",
}


def said(text: str) -> list[str]:
    (statement,) = parse(Path("a.sql"), f"{text};\n").statements
    return [remark.message for remark in privilege_remarks(statement, HISTORIES)]


@pytest.mark.parametrize(("text", "what"), FOUND.items(), ids=FOUND)
def test_it_is_said_once_with_what_it_is(text: str, what: str) -> None:
    assert said(text) == [f"{what}: say why it belongs into a migration"]


@pytest.mark.parametrize("text", PASSED)
def test_what_looks_like_it_is_not(text: str) -> None:
    assert said(text) == []
