"""Migrations and backups that nobody approved, on a copy: they reach nothing of ours from there."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed
from pgwindlass.postgres import roles, sandbox, throwaway
from pgwindlass.postgres.roles import Clone, Membership, Runner
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

SECRET = "planted-on-this-machine"
VERSION = 180_000
BOSS = Runner(name="boss", superuser=True, createrole=True, createdb=True, bypassrls=True)
# A member of all that reaches a machine, and an administrator of it.
DEPLOYER = Runner(
    name="deployer",
    createrole=True,
    memberships=tuple(Membership(role, "deployer", admin=True) for role in sorted(roles.REACHING)),
    database_owner="deployer",
)
OWNER = roles.checker(["app"])


class Copy(NamedTuple):
    """A copy of nothing, its server, and who runs migrations on it."""

    started: throwaway.Throwaway
    clone: Clone


def why_no_sandbox() -> str:
    place = next(throwaway._installations(VERSION // 10_000))
    return sandbox.why_not(place)


@contextmanager
def started(sandboxed: str) -> Iterator[throwaway.Throwaway]:
    needs = throwaway.Needs(
        server_version=VERSION, extensions=(), roles=("app", "boss", "deployer", "rich")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRODUCTION_DATABASE_URL", SECRET)
        patch.setenv("AGE_IDENTITY", SECRET)
        with throwaway.running(needs, None, sandboxed=sandboxed) as found:  # type: ignore[arg-type]
            yield found


@pytest.fixture(scope="module")
def boxed() -> Iterator[throwaway.Throwaway]:
    if why_no_sandbox():
        pytest.skip(why_no_sandbox())
    with started("required") as found:
        yield found


@pytest.fixture(scope="module")
def unboxed() -> Iterator[throwaway.Throwaway]:
    with started("off") as found:
        yield found


@pytest.fixture
def superuser(boxed: throwaway.Throwaway) -> Iterator[psycopg.Connection]:
    """The clone of a superuser, which the sandbox may have."""
    with throwaway.copy(boxed) as admin:
        clone = boxed.clone(admin, BOSS)
        assert clone.lacks == ()
        with clone.database.connect("attack") as connection:
            yield connection


def output(connection: psycopg.Connection, shell: str) -> str:
    """Return what a command prints that a server runs."""
    connection.execute("create temporary table o (line text)")
    program = psycopg.sql.Literal(f"({shell}) 2>&1 | tr '\\0' '\\n'; true")
    options = r"(format csv, delimiter E'\x01', quote E'\x02')"
    connection.execute(psycopg.sql.SQL("copy o from program {} " + options).format(program))
    return "\n".join(line for (line,) in connection.execute("select line from o") if line)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    file = tmp_path / "identity"
    file.write_text(SECRET)
    tmp_path.chmod(0o755)
    file.chmod(0o644)
    return file


@pytest.mark.attack
@pytest.mark.parametrize(
    "shell",
    [
        "env",
        "cat /proc/*/environ",
        "cat /proc/$PPID/environ",
        "cat {private}",
        "cat {home}/.bashrc {home}/.profile; ls {home}/.ssh && echo " + SECRET,
        "cat {checkout}/deploy.yml {checkout}/tasks.py && echo " + SECRET,
        "ls /run/docker.sock /var/run/docker.sock && echo " + SECRET,
        "touch {private} && echo " + SECRET,
        "touch /usr/bin/planted && echo " + SECRET,
        "kill -0 {pid} && echo " + SECRET,
        "cat /etc/shadow /etc/environment && echo " + SECRET,
        "find / -xdev -name identity -exec cat {{}} +",
        "grep -r --include=* -s " + SECRET + " /tmp /dev/shm /etc /run",
        "unshare -Ur cat {private}",
        "mount -t proc proc /proc && echo " + SECRET,
        "su -c id && echo " + SECRET,
    ],
)
def test_a_program_in_the_sandbox_finds_nothing_of_ours(
    superuser: psycopg.Connection, private: Path, shell: str
) -> None:
    checkout = Path(__file__).parents[3]
    command = shell.format(private=private, home=Path.home(), checkout=checkout, pid=os.getpid())

    found = output(superuser, command)

    # The command itself may be told in a message, as of a process's own arguments.
    assert SECRET not in found.replace(command, "").replace(f"-s {SECRET}", "")


TCP = "IO::Socket::INET->new(PeerAddr => '127.0.0.1:{port}')"
ABSTRACT = "IO::Socket::UNIX->new(Peer => chr(0) . '{name}')"


@pytest.mark.attack
@pytest.mark.parametrize("expression", [TCP, ABSTRACT])
def test_the_sandbox_has_no_network(superuser: psycopg.Connection, expression: str) -> None:
    name = f"windlass-attack-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + name)
        unix.listen()
        for listener in (tcp, unix):
            listener.settimeout(0.2)
        code = expression.format(port=tcp.getsockname()[1], name=name)
        perl = f'print {code} ? "got in" : "refused"'

        said = output(superuser, f"perl -MIO::Socket -MIO::Socket::UNIX -e {shlex.quote(perl)}")

        assert said == "refused"
        for listener in (tcp, unix):
            with pytest.raises(TimeoutError):
                listener.accept()


@pytest.fixture(scope="module", params=["superuser", "deployer", "owner"])
def clone(request: pytest.FixtureRequest, unboxed: throwaway.Throwaway) -> Iterator[Copy]:
    """Who runs migrations where there is no sandbox."""
    runner = {"superuser": BOSS, "deployer": DEPLOYER, "owner": OWNER}[request.param]
    with throwaway.copy(unboxed) as admin:
        yield Copy(unboxed, unboxed.clone(admin, runner))


FORBIDDEN = [
    "copy (select 1) to program 'touch {file}'",
    "create temporary table p (l text); copy p from program 'touch {file}'",
    "copy (select 1) to '{file}'",
    "create temporary table q (l text); copy q from '/etc/passwd'",
    "select pg_catalog.pg_read_file('/etc/passwd')",
    "select pg_catalog.pg_read_binary_file('/etc/passwd')",
    "select pg_catalog.pg_ls_dir('/')",
    "select pg_catalog.pg_stat_file('/etc/passwd')",
    "select pg_catalog.lo_import('/etc/passwd')",
    "select pg_catalog.lo_export(pg_catalog.lo_from_bytea(0, 'x'), '{file}')",
    "create function f(text) returns int language c as 'libc.so.6', 'system'",
    "create function g() returns int language internal as 'pg_read_file'",
    "alter system set archive_command = 'touch {file}'",
    "load '{file}'",
    "set session_preload_libraries = '{file}'",
    "set shared_preload_libraries = '{file}'",
    "set dynamic_library_path = '/tmp'",
    "create event trigger e on ddl_command_start execute function pg_catalog.suppress_redundant()",
    "create subscription s connection 'host=127.0.0.1 password=x' publication p",
    "create tablespace planted location '/tmp'",
    "alter role current_user superuser",
    "create role planted superuser",
    "create role planted in role pg_execute_server_program",
    "grant pg_execute_server_program to current_user",
    "grant pg_read_server_files to app",
    'grant "{admin}" to current_user',
    'set role "{admin}"',
    'set session authorization "{admin}"',
    'set local session authorization "{admin}"',
    'alter role "{admin}" password null',
    "update pg_catalog.pg_authid set rolsuper = true",
    "insert into pg_catalog.pg_auth_members select * from pg_catalog.pg_auth_members",
    "select * from pg_catalog.pg_authid",
]


@pytest.mark.attack
@pytest.mark.parametrize("statement", FORBIDDEN)
def test_without_a_sandbox_no_role_reaches_the_machine(
    clone: Copy, tmp_path: Path, statement: str
) -> None:
    tmp_path.chmod(0o777)
    admin = clone.started.admin.parameters()["user"]
    file = tmp_path / "planted"

    with (
        clone.clone.database.connect("attack") as connection,
        pytest.raises(psycopg.Error) as caught,
    ):
        for one in statement.format(file=file, admin=admin).split("; "):
            connection.execute(one.encode())

    assert caught.value.sqlstate in ("42501", "55P02", "42883", "42939", "0LP01")
    assert not file.exists()


@pytest.mark.attack
@pytest.mark.parametrize(
    "way",
    [
        "reset role",
        "set role none",
        "reset session authorization",
        "set session authorization default",
        "discard all",
    ],
)
def test_no_way_back_to_the_servers_superuser(clone: Copy, way: str) -> None:
    with clone.clone.database.connect("attack") as connection:
        connection.execute(way.encode())
        row = connection.execute(
            "select rolsuper from pg_catalog.pg_roles where rolname = current_user"
        ).fetchone()

    assert row == (False,)


@pytest.mark.attack
def test_a_definers_function_of_a_live_superuser_is_no_superusers_here(
    unboxed: throwaway.Throwaway, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    with throwaway.copy(unboxed) as admin:
        with admin.connect("restore") as connection:
            connection.execute(
                "create function public.run(command text) returns void language plpgsql "
                "security definer as $$ begin "
                "execute format('copy (select 1) to program %L', command); end $$"
            )
            connection.execute("alter function public.run owner to rich")
        copy = unboxed.clone(admin, OWNER)
        with (
            copy.database.connect("attack") as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("select public.run(%s)", (f"touch {tmp_path}/planted",))

    assert not (tmp_path / "planted").exists()


@pytest.mark.attack
def test_functions_in_an_untrusted_language_are_not_run_without_a_sandbox(
    unboxed: throwaway.Throwaway,
) -> None:
    with throwaway.copy(unboxed) as admin:
        with admin.connect("restore") as connection:
            connection.execute("create language plunsafe handler pg_catalog.plpgsql_call_handler")
            connection.execute(
                "create function f() returns int language plunsafe as 'begin return 1; end'"
            )
        with pytest.raises(StepFailed, match="functions in plunsafe") as caught:
            unboxed.clone(admin, OWNER)

    assert "install bubblewrap" in caught.value.next_step


@pytest.mark.attack
def test_the_servers_socket_is_private_and_its_only_door(unboxed: throwaway.Throwaway) -> None:
    directory = Path(unboxed.admin.parameters()["host"])
    with unboxed.admin.connect("attack") as connection:
        listens = connection.execute("show listen_addresses").fetchone()

    assert directory.stat().st_mode & 0o077 == 0
    assert listens == ("",)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGHOSTADDR", "127.0.0.1"),
        ("PGPORT", "1"),
        ("PGOPTIONS", "-c role=rich"),
        ("PGSSLMODE", "verify-full"),
        ("PGPASSWORD", SECRET),
    ],
)
def test_no_variable_leads_our_session_elsewhere(
    unboxed: throwaway.Throwaway, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with unboxed.admin.connect("attack") as connection:
        row = connection.execute("select current_user, inet_server_addr()").fetchone()

    assert row == (unboxed.admin.parameters()["user"], None)
    assert unboxed.admin.environment().get("PGPASSWORD") != SECRET


KILLED = """
import os, signal
from pgwindlass.postgres import throwaway
needs = throwaway.Needs(server_version=180_000, extensions=(), roles=())
with throwaway.running(needs, None, sandboxed="required") as server:
    print(server.admin.url.reveal(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.attack
def test_what_runs_in_the_sandbox_ends_with_a_run_that_is_killed() -> None:
    if why_no_sandbox():
        pytest.skip(why_no_sandbox())

    killed = subprocess.run(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False
    )

    assert killed.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    with pytest.raises(psycopg.OperationalError):
        while time.monotonic() < deadline:
            psycopg.connect(killed.stdout.strip()).close()
            time.sleep(0.05)


@pytest.mark.attack
@pytest.mark.parametrize("left", ["1", "not a number", "", "-1", None])
def test_what_a_server_wrote_of_itself_is_not_believed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str | None
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    base = tmp_path / f"{throwaway.PREFIX}killed"
    (base / "data").mkdir(parents=True)
    (base / throwaway.LOCK).touch()
    file = base / "data" / "postmaster.pid"
    if left is None:
        os.mkfifo(file)
    else:
        file.write_text(left)

    throwaway.sweep()

    assert base.exists() == (left == "")  # one that just starts is left for the next time


@pytest.mark.attack
def test_a_server_that_must_be_in_a_sandbox_is_not_started_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    needs = throwaway.Needs(server_version=VERSION, extensions=(), roles=())

    with (
        pytest.raises(StepFailed, match=r"sandbox is required.*bwrap.* is not installed"),
        throwaway.running(needs, None, sandboxed="required"),
    ):
        pytest.fail("it was started")


# By the real tasks: each reads what the clone of postgres, a superuser, may do.

BASE, NEXT = "20260801_000000_base", "20260802_000000_next"
PRINTS = """
create table seen (line text);
copy seen from program 'env; cat /proc/*/environ 2>/dev/null | tr "\\0" "\\n"; true'
    with (format csv, delimiter E'\\x01', quote E'\\x02');
do $$ begin raise exception '%', (select encode(string_agg(line, ',')::bytea, 'hex') from seen);
end $$;
"""


TRAP = """-- windlass: allow privilege this is the trap of a test
create function trap() returns boolean language plpgsql as $$ begin
    if current_database() like 'windlass_copy_%' then
        copy (select 1) to program 'touch {file}';
    end if;
    return true; end $$;
create table t (i int check (trap()));
insert into t values (1);
"""


@pytest.fixture
def shop(tmp_path: Path, database16: Database) -> Project:
    """A project with one migration, in uat, whose role is a superuser."""
    found = Project(tmp_path / "shop", database16.url.reveal())
    tmp_path.chmod(0o777)
    found.migration(BASE, "create table t (i int);", "drop table t;")
    found.env |= {"AGE_IDENTITY": SECRET, "PRODUCTION_DATABASE_URL": SECRET}
    return found


def committed(project: Project) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "x")):
        subprocess.run(["git", *who, *arguments], cwd=project.home, check=True)


@pytest.mark.attack
def test_what_a_rehearsal_prints_holds_no_secret(shop: Project) -> None:
    if why_no_sandbox():
        pytest.skip(why_no_sandbox())
    assert shop.run("deploy", "--env", "uat").code == 0
    shop.migration(NEXT, PRINTS, "drop table seen;")

    ran = shop.run("rehearse", "--env", "uat")

    assert ran.code == 1
    printed = re.sub(r"\s", "", ran.out + ran.err)
    assert "504154483d" in printed  # PATH=, in hex: the migration ran, and found nothing
    assert SECRET not in printed
    assert SECRET.encode().hex() not in printed


@pytest.mark.attack
def test_a_rehearsal_without_a_sandbox_tells_what_it_could_not_try(
    shop: Project, tmp_path: Path
) -> None:
    text = shop.deploy_yml.read_text()
    shop.deploy_yml.write_text(text.replace('backups"}', 'backups", sandbox: off}'))
    assert shop.run("deploy", "--env", "uat").code == 0
    shop.migration(NEXT, f"copy (select 1) to program 'touch {tmp_path}/planted';", "select 1;")
    shop.migration("20260803_000000_more", "create table more (i int);", "drop table more;")

    first, second = shop.json("rehearse", "--env", "uat")["migrations"]

    assert first["not_rehearsed"].startswith("the role on the copy is without superuser: ")
    assert second["not_rehearsed"] == f"it comes behind {NEXT}"
    assert not (tmp_path / "planted").exists()


@pytest.mark.attack
def test_a_check_runs_as_an_ordinary_owner(shop: Project, tmp_path: Path) -> None:
    shop.migration(
        BASE, "create table t (i int); grant select on t to app, auditor;", "drop table t;"
    )
    committed(shop)
    for_role = "alter default privileges for role app"
    shop.migration(
        NEXT,
        f"{for_role} grant select on tables to auditor; grant update on t to auditor;",
        f"{for_role} revoke select on tables from auditor; revoke update on t from auditor;",
    )
    shop.migration(
        "20260803_000000_program",
        f"copy (select 1) to program 'touch {tmp_path}/planted';",
        "select 1;",
    )

    granted, program = shop.json("check", "--base", "HEAD")["migrations"]

    assert (granted["problem"], granted["untried"]) == ("", "")
    assert "permission denied to COPY to or from an external program" in program["untried"]
    assert program["problem"] == ""
    assert not (tmp_path / "planted").exists()


@pytest.mark.attack
def test_a_drill_runs_a_backups_functions_in_the_sandbox(shop: Project, tmp_path: Path) -> None:
    if why_no_sandbox():
        pytest.skip(why_no_sandbox())
    file = tmp_path / "planted"
    shop.migration(BASE, TRAP.format(file=file), "drop table t; drop function trap;")
    assert shop.run("deploy", "--env", "uat").code == 0
    assert shop.run("backup", "--env", "uat").code == 0

    ran = shop.run("backup.drill", "--env", "uat")

    # The trap fires there: the file's directory does not exist, and the drill fails for it.
    assert ran.code == 1
    assert "program" in ran.err
    assert not file.exists()


def test_a_grant_to_a_role_that_exists_is_rehearsed(shop: Project, database16: Database) -> None:
    with psycopg.connect(shop.url, autocommit=True) as connection:
        name = f"reader_{os.getpid()}"
        connection.execute(f"create role {name}".encode())
    try:
        assert shop.run("deploy", "--env", "uat").code == 0
        shop.migration(NEXT, f"grant select on t to {name};", f"revoke select on t from {name};")

        (one,) = shop.json("rehearse", "--env", "uat")["migrations"]

        assert one["rolled_back"] is True
        assert one["not_rehearsed"] == ""
    finally:
        with psycopg.connect(shop.url, autocommit=True) as connection:
            connection.execute(f"drop owned by {name}; drop role {name}".encode())
