"""pg_dump and pg_restore on lines that are dead, and on lines that only stand still for long."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from pgwindlass import movement
from pgwindlass.config import sections
from pgwindlass.config.duration import Duration
from pgwindlass.database import connection as connections
from pgwindlass.database import create, opening, silence, transient
from pgwindlass.database.connection import Database
from pgwindlass.deployment import outlast
from pgwindlass.errors import Stalled
from pgwindlass.postgres import clients, schema
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import configured, restore, take
from tests.fix_own_server import OwnServer
from tests.fix_proxy import Proxy

pytestmark = pytest.mark.sampled(3)

SCHEMA = """
    create table t (id int, content text);
    alter table t alter content set storage external;
    insert into t
    select i, (select string_agg(md5((100 * i + j)::text), '') from generate_series(1, 99) j)
    from generate_series(1, 2500) i;
    create or replace function slow(i int) returns int immutable language plpgsql as $$
    begin
        if current_database() = 'target' then perform pg_sleep(1.2); end if;
        return i;
    end $$;
    create table few as select 1 as id union all select 2 union all select 3;
    create index on few (slow(id));
"""
LIMIT = 2.0  # seconds


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after a fraction of the time."""
    monkeypatch.setattr(silence, "ASK_AFTER", 0.3)
    monkeypatch.setattr(silence, "ASK_EVERY", 0.3)
    monkeypatch.setattr(silence, "SILENT_AT_MOST", 1.5)
    monkeypatch.setattr(opening, "ASKED_WITHIN", 1.0)
    monkeypatch.setattr(movement, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(sections, "SHORTEST_STANDSTILL", 1.0)
    monkeypatch.setattr(connections, "CONNECT_WITHIN", 2)


@pytest.fixture(scope="module")
def full(lonely_server: OwnServer) -> Database:
    """A database whose dump is larger than what a line and a pipe buffer."""
    database = lonely_server.database()
    with database.connect("test") as connection:
        connection.execute(SCHEMA)
    return database


@pytest.fixture
def line(lonely_server: OwnServer, proxy: Callable[[tuple[str, int]], Proxy]) -> Proxy:
    return proxy(("127.0.0.1", lonely_server.port))


@pytest.fixture
def target(lonely_server: OwnServer) -> Iterator[str]:
    """An empty database's name."""
    create.create_database(lonely_server.database(), "target")
    yield "target"
    create.drop(lonely_server.database(), "target")


def hurry(**keys: object) -> sections.BackupsConfig:
    return configured(jobs=1, globals=False, no_progress=Duration(LIMIT), **keys)


def swallow(line: Proxy, *, others_live: bool) -> Callable[[int, "int | None"], None]:
    """Return a progress that lets the line swallow all that comes, once something has come."""
    hit = threading.Event()

    def progress(done: int, _total: int | None) -> None:
        if done and not hit.is_set():
            hit.set()
            line.stall("down")
            if others_live:
                threading.Timer(0.5, line.heal).start()  # for what connects from now on

    return progress


@pytest.mark.sampled(2)
@pytest.mark.parametrize("others_live", [True, False])
def test_a_dump_whose_line_swallows_everything_ends(
    lonely_server: OwnServer, full: Database, line: Proxy, tmp_path: Path, others_live: bool
) -> None:
    progress = swallow(line, others_live=others_live)
    with pytest.raises(Stalled, match="pg_dump was ended: nothing moved for") as caught:
        take(
            lonely_server.database(line.port), DirectoryStore(tmp_path), hurry(), progress=progress
        )

    heard = "and the server waits for it: " if others_live else "not answer on another line"
    assert "bytes at 20" in caught.value.what
    assert heard in caught.value.what
    assert "no backup was kept" in caught.value.state
    assert outlast.passing(caught.value) == transient.LOST
    assert list(DirectoryStore(tmp_path).keys("")) == []


def test_a_restore_whose_line_swallows_everything_ends(
    lonely_server: OwnServer, full: Database, line: Proxy, target: str, tmp_path: Path
) -> None:
    store = DirectoryStore(tmp_path)
    manifest = take(full, store, hurry())
    line.stall("up", 500_000)

    def alive() -> None:
        while line.passed["up"] < 500_000:
            time.sleep(0.02)
        time.sleep(0.5)
        line.heal()  # for what connects from now on

    threading.Thread(target=alive, daemon=True).start()
    with pytest.raises(Stalled, match="pg_restore was ended: nothing moved for") as caught:
        restore(manifest, store, lonely_server.database(line.port, target), hurry(), owners=False)

    assert "ClientRead since" in caught.value.what
    assert caught.value.state.startswith("nothing was restored")


def test_definitions_that_a_line_swallows_end(
    lonely_server: OwnServer, full: Database, line: Proxy, target: str
) -> None:
    with full.connect("test") as connection:
        tools = clients.find_clients(connection.info.server_version)
    line.stall("down", 20_000)
    with pytest.raises(Stalled, match="pg_dump was ended"):
        schema.copy_definitions(
            lonely_server.database(line.port), lonely_server.database(name=target), tools
        )


class Slow(DirectoryStore):
    """A store that thinks for longer than a line may be dead."""

    def write(self, key: str, chunks: Iterable[bytes], **how: int) -> str:
        return super().write(key, self._slowly(chunks), **how)  # type: ignore[arg-type]

    def _slowly(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            if number == 1:
                time.sleep(2 * LIMIT)
            yield chunk


def test_a_store_that_is_slow_is_no_dead_line(
    lonely_server: OwnServer, full: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes a reader that does not read for one that is gone, where it is let."""
    monkeypatch.setitem(connections.KEPT_BY_SERVER, "tcp_user_timeout", "1000")

    manifest = take(full, Slow(tmp_path), hurry())

    assert dict(manifest.row_counts)["public.t"] == 2500


def test_a_server_that_takes_its_time_is_no_dead_line(
    lonely_server: OwnServer, full: Database, target: str, tmp_path: Path
) -> None:
    store = DirectoryStore(tmp_path)
    manifest = take(full, store, hurry())

    restored = restore(manifest, store, lonely_server.database(name=target), hurry())

    assert restored.seconds > LIMIT
