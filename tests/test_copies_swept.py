"""Copies on a server of the user's own: a killed run's are swept, a living run's never."""

import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from pgwindlass.postgres import copies, throwaway
from pgwindlass.postgres.throwaway import Needs
from pgwindlass.secret import Secret
from tests.fix_postgres import Server

# Makes a copy, a role of its own beside it, says where, and waits to be killed.
COPYING = """
import sys, time
import psycopg
from pgwindlass.postgres import copies, throwaway
from pgwindlass.secret import Secret
needs = throwaway.Needs(server_version=int(sys.argv[2]), extensions=(), roles=(sys.argv[3],))
with throwaway.copied(needs, Secret(sys.argv[1])) as (server, copy):
    role = copies.new_role(copy.name)
    with psycopg.connect(copy.url.reveal(), autocommit=True) as connection:
        connection.execute(f"create role {role}; create table t (); alter table t owner to {role}")
    print(copy.name, role, flush=True)
    time.sleep(600)
"""


OWNER = "wl_owner_of_a_copy"


@pytest.fixture
def copying(server16: Server) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A run with a copy: its process, the copy and its role."""
    argv = [sys.executable, "-c", COPYING, server16.url(), "160000", OWNER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name, role = child.stdout.readline().split()
        yield child, name, role
        child.kill()


def there(server: Server, *names: str) -> set[str]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        rows = connection.execute(
            "select datname from pg_database where datname = any(%(names)s)"
            " union select rolname from pg_roles where rolname = any(%(names)s)",
            {"names": list(names)},
        ).fetchall()
    return {name for (name,) in rows}


def rehearse(server: Server, *roles: str) -> None:
    needs = Needs(server_version=160000, extensions=(), roles=roles)
    with throwaway.running(needs, Secret(server.url())):
        pass


def test_the_copy_of_a_living_run_stays_and_that_of_a_killed_one_goes(
    server16: Server, copying: tuple[subprocess.Popen[str], str, str]
) -> None:
    child, name, role = copying

    rehearse(server16)
    during = there(server16, name, role)
    child.kill()
    child.wait()
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        while connection.execute(copies.HELD, (copies.CLASS,)).fetchall():
            pass  # until the server has seen that it is gone
    rehearse(server16)

    assert during == {name, role}
    assert there(server16, name, role) == set()


def test_names_of_others_and_of_older_releases_are_left_alone() -> None:
    name = copies.new_name()
    role = copies.new_role(name)
    others = ("postgres", "windlass_copy_0123456789ab", "windlass_copy_hours", f"{name}x")

    assert copies.abandoned((name, role, *others), ()) == (name, role)
    assert copies.number(role) == copies.number(name)
    assert copies.abandoned((name, role), (copies.number(name) or 0,)) == ()


def test_the_roles_of_a_killed_runs_copies_go_and_those_of_a_living_one_stay(
    server16: Server, copying: tuple[subprocess.Popen[str], str, str]
) -> None:
    child, name, _ = copying
    with psycopg.connect(server16.url(name), autocommit=True) as connection:
        connection.execute(f"create table theirs (); alter table theirs owner to {OWNER}".encode())

    rehearse(server16, OWNER)  # it takes the role over, and may not drop it
    during = there(server16, OWNER)
    child.kill()
    child.wait()
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        while connection.execute(copies.HELD, (copies.CLASS,)).fetchall():
            pass  # until the server has seen that it is gone
    rehearse(server16)

    assert (during, there(server16, OWNER)) == ({OWNER}, set())


def test_a_role_of_the_users_own_stays(server16: Server) -> None:
    own = "wl_own_role_beside_copies"
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        connection.execute(f"create role {own}".encode())
    rehearse(server16, own)
    rehearse(server16)

    assert there(server16, own) == {own}
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        connection.execute(f"drop role {own}".encode())
