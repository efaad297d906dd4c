"""While a dump runs, everybody on the machine may read its command line; and errors are logged."""

import contextlib
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import WindlassError
from pgwindlass.secret import Secret
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import configured, take
from tests.fix_postgres import Server
from tests.fix_s3 import free_port
from tests.kit import parts

PASSWORD = "c0rrect-h0rse-battery"


def command_lines() -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture
def with_password(server16: Server, database16: Database) -> Database:
    with database16.connect("test") as connection:
        connection.execute(
            b"create table large (t text); insert into large select string_agg(md5(i::text), '')"
            b" from generate_series(1, 200000) i, generate_series(1, 3) j group by i % 50"
        )
    url = server16.url(database16.name).replace("postgres@", f"postgres:{PASSWORD}@")
    return Database(url=Secret(url), deployment_id="test")


def test_the_password_is_in_no_command_line_and_in_no_stored_byte(
    with_password: Database, tmp_path: Path
) -> None:
    seen: list[str] = []
    store = DirectoryStore(tmp_path)

    def look(done: int, total: int | None) -> None:
        if not seen:
            seen.extend(command_lines())

    take(with_password, store, configured(globals=False), progress=look)

    assert any("pg_dump --format=custom" in line and "--snapshot=" in line for line in seen)
    assert not any(PASSWORD in line for line in seen)
    assert not any(PASSWORD.encode() in b"".join(store.read(key)) for key in store.keys(""))


def test_the_password_is_not_in_an_error_that_quotes_it(
    with_password: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgwindlass.backup.snapshot.LOCK_WAIT", "100ms")
    with with_password.connect("test") as connection:
        connection.execute(f'alter table large rename to "{PASSWORD}"'.encode())

    with with_password.connect("holder", autocommit=False) as other:
        other.execute(f'lock table "{PASSWORD}" in access exclusive mode'.encode())
        with pytest.raises(WindlassError) as caught:
            take(with_password, DirectoryStore(tmp_path))

    assert PASSWORD not in parts(caught.value)


def test_the_password_is_not_in_the_error_of_a_connection(tmp_path: Path) -> None:
    url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{free_port()}/{PASSWORD}"

    with pytest.raises(WindlassError) as caught:
        take(Database(url=Secret(url)), DirectoryStore(tmp_path))

    assert PASSWORD not in parts(caught.value)
