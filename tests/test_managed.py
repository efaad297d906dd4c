"""A server as a cloud has it: the database's owner is no superuser, and uses a trusted extension.

On PostgreSQL as Debian packs it, which has contrib.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pgwindlass.postgres import throwaway
from tests import npm_postgres
from tests.fix_own_server import own_server
from tests.fix_postgres import Server
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)
AUDITED = "create extension pgaudit; create table a (i int); insert into a values (1), (2);"
A = "20260801_000000_words"
WORDS = """
create extension pg_trgm;
create extension pgcrypto;
create table words (id int primary key, word text, secret bytea default digest('a', 'sha256'));
create index words_trgm on words using gin (word gin_trgm_ops);
insert into words (id, word) select g, 'word ' || g from generate_series(1, 50) g;
"""


@pytest.fixture
def debian(servers: Callable[[int], Server]) -> Server:
    return servers(max(int(place.name) for place in npm_postgres.PACKAGED.iterdir()))


@pytest.fixture
def managed(debian: Server, tmp_path: Path) -> Iterator[Project]:
    """A project whose URL is the owner's; the roles are of this test alone."""
    name = f"m{secrets.token_hex(4)}"
    with psycopg.connect(debian.url(), autocommit=True) as admin:
        for text in (
            "create role {owner} login createdb",
            "create role {app} login",
            "grant pg_signal_backend to {owner}",
            "create database {name} owner {owner}",
        ):
            names = {key: sql.Identifier(f"{name}_{key}") for key in ("owner", "app")}
            admin.execute(sql.SQL(text).format(name=sql.Identifier(name), **names))
    url = debian.url(name).replace("postgres@", f"{name}_owner@")
    project = Project(tmp_path / "shop", url, throwaway=debian.url())
    project.migration(A, f"{WORDS} grant select on words to {name}_app;", "drop table words;")
    yield project
    with psycopg.connect(debian.url(), autocommit=True) as admin:
        rows = admin.execute("select datname from pg_database where datname like %s", (f"{name}%",))
        for (database,) in rows.fetchall():
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database)))
        for key in ("owner", "app"):
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(f"{name}_{key}")))


def test_a_backup_with_trusted_extensions_comes_back_whole(managed: Project) -> None:
    assert (ran := managed.run("deploy", "--env", "uat")).code == 0, ran.err
    ran = managed.run("backup", "--env", "uat")
    assert ran.code == 0, ran.err
    with psycopg.connect(managed.url) as connection:
        connection.execute("delete from words")

    drilled = managed.run("backup.drill", "--env", "uat")
    restored = managed.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

    assert drilled.code == 0, drilled.err
    assert restored.code == 0, restored.err
    with psycopg.connect(managed.url) as connection:
        assert connection.execute("select count(*) from words where word % 'word 7'").fetchone()
        app = connection.execute(
            "select grantee from information_schema.role_table_grants "
            "where table_name = 'words' and grantee like '%\\_app'"
        ).fetchall()
    assert len(app) == 1


def test_without_owners_the_grants_of_roles_that_exist_stay(
    managed: Project, debian: Server
) -> None:
    gone = f"{managed.url.split('/')[3].partition('?')[0]}_gone"
    with psycopg.connect(debian.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("create role {}").format(sql.Identifier(gone)))
    assert managed.run("deploy", "--env", "uat").code == 0
    with psycopg.connect(managed.url, autocommit=True) as connection:
        connection.execute(sql.SQL("grant select on words to {}").format(sql.Identifier(gone)))
    assert managed.run("backup", "--env", "uat").code == 0
    with psycopg.connect(managed.url, autocommit=True) as connection:
        connection.execute(sql.SQL("revoke all on words from {}; ").format(sql.Identifier(gone)))
    with psycopg.connect(debian.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(gone)))
    refused = managed.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

    ran = managed.run("restore", "--env", "uat", "--no-owner", CONFIRM_RESTORE="yes")

    assert refused.code == 1 and gone in refused.err
    assert ran.code == 0, ran.err
    assert f'role "{gone}" does not exist' in ran.out
    with psycopg.connect(managed.url) as connection:
        rows = connection.execute(
            "select a.grantee::regrole::text from pg_class c, aclexplode(c.relacl) a "
            "where c.relname = 'words' and a.grantee <> c.relowner"
        ).fetchall()
    assert [name for (name,) in rows if name.endswith("_app")] == [rows[0][0]]


def test_what_must_be_preloaded_is_preloaded_for_a_drill(tmp_path: Path) -> None:
    with own_server("shared_preload_libraries=pgaudit") as server:
        project = Project(tmp_path / "shop", server.url())
        project.migration(A, AUDITED, "drop table a; drop extension pgaudit;")
        deployed = project.run("deploy", "--env", "uat")
        backed_up = project.run("backup", "--env", "uat")
        drilled = project.run("backup.drill", "--env", "uat")

    assert deployed.code == 0, deployed.err
    assert backed_up.code == 0, backed_up.err
    assert drilled.code == 0, drilled.err


def test_an_extension_of_one_database_is_told_before_a_drill() -> None:
    """No copy can have it: its name is another one."""
    reason = throwaway.missing_reason(150_000, ["pg_cron"], None)

    assert reason.startswith("pg_cron works in one database of a server")


@pytest.mark.parametrize(
    ("encoding", "word"), [("LATIN1", b"caf\xe9"), ("SQL_ASCII", b"caf\xe9\xff")]
)
def test_copies_have_the_databases_encoding(tmp_path: Path, encoding: str, word: bytes) -> None:
    """Bytes that are no UTF-8 come back as they were, in a drill and in a restore."""
    with own_server() as server:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            made = f"create database shop template template0 encoding '{encoding}' locale 'C'"
            admin.execute(made.encode())
        project = Project(tmp_path / "shop", server.url(database="shop"))
        project.migration(A, "create table words (word text primary key);", "drop table words;")
        assert (ran := project.run("deploy", "--env", "uat")).code == 0, ran.err
        with psycopg.connect(project.url, autocommit=True) as connection:
            connection.execute(f"set client_encoding = '{encoding}'".encode())
            connection.execute(b"insert into words values ('" + word + b"')")
        assert (ran := project.run("backup", "--env", "uat")).code == 0, ran.err

        drilled = project.run("backup.drill", "--env", "uat")
        restored = project.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

        assert drilled.code == 0, drilled.err
        assert restored.code == 0, restored.err
        with psycopg.connect(project.url, autocommit=True) as connection:
            rows = connection.execute("select encode(word::bytea, 'hex') from words").fetchall()
    assert encoding != "SQL_ASCII" or rows == [(word.hex().encode(),)]
