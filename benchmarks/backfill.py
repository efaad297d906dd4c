"""A backfill of many rows beside a writer: one UPDATE, a naive loop, and windlass.

Run: .venv/bin/python benchmarks/backfill.py [ROWS]
ROWS is how many `error_events` there are (5000000). The writer is pgbench: 300 times a second it
changes one row, anywhere, for as long as the backfill takes. What it waited counts from when a
change was due, so that those behind one that waits count too. The naive loop is `UPDATE
… WHERE id IN (SELECT … LIMIT 10000)` until nothing is left, as it is written by hand. Every row is
looked at afterwards.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pgwindlass.postgres.embedded import running

DEPLOY_YML = "project: b\nenvironments:\n  dev: {tier: development, database: '${URL}'}\n"
NEW = "((payload->>'status_code')::integer)"
WHERE = "status_code is null and payload ? 'status_code'"
ONE = f"update error_events set status_code = {NEW} where {WHERE}"  # constants
LOOP = f"""
    update error_events set status_code = {NEW} where id in (
        select id from error_events where {WHERE} limit 10000)
"""  # constants
MAKE = """
    drop table if exists error_events;
    create table error_events (
        id bigint primary key, payload jsonb not null, status_code integer, seen int default 0);
    insert into error_events (id, payload)
    select g, jsonb_build_object('status_code', 400 + g % 200, 'path', md5(g::text))
    from generate_series(1, {rows}) g;
    vacuum analyze error_events;
"""
PACKAGED = Path("/usr/lib/postgresql")  # of Debian
WRITES = "select from error_events where seen > 0 limit 1"
END = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbench'"
WRONG = "select count(*) from error_events where status_code is distinct from 400 + id % 200"


@dataclass(frozen=True)
class Result:
    """What one way took, and what its writer waited; seconds."""

    seconds: float
    p99: float
    longest: float
    writes: int


def main() -> None:
    """Print, for each way, its time and the writer's waits, with ratios to the single UPDATE."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "migrations").mkdir()
        (home / "deploy.yml").write_text(DEPLOY_YML)
        (home / "migrations" / "20260801_000000_b.sql").write_text(
            f"-- windlass: backfill table=error_events\n{ONE};\n"
        )
        with running(home / "pg") as secret:
            url = secret.reveal()
            ways: dict[str, Callable[[], object]] = {
                "one UPDATE": lambda: _run(url, ONE),
                "a naive loop": lambda: _loop(url),
                "windlass": lambda: _windlass(home, url),
            }
            results = {title: _measured(url, count, way) for title, way in ways.items()}
    first = next(iter(results.values()))
    for title, each in results.items():
        print(
            f"{title:<14} {each.seconds:7.1f} s {each.seconds / first.seconds:6.2f} ×   "
            f"writer: p99 {each.p99 * 1000:9.1f} ms {each.p99 / first.p99:7.3f} ×   "
            f"longest {each.longest * 1000:9.1f} ms {each.longest / first.longest:7.3f} ×   "
            f"{each.writes:,} writes"
        )


def _measured(url: str, count: int, way: Callable[[], object]) -> Result:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in MAKE.format(rows=count).split(";")[:-1]:
            connection.execute(statement.encode())
    with tempfile.TemporaryDirectory() as name, _writer(url, count, Path(name)) as waits:
        began = time.perf_counter()
        way()
        seconds = time.perf_counter() - began
    with psycopg.connect(url) as connection:
        wrong = connection.execute(WRONG).fetchone()
        seen = connection.execute("select sum(seen) from error_events").fetchone()
    assert wrong == (0,), f"{wrong} rows are wrong"
    # The last write may have committed as its session was ended.
    assert seen and 0 <= seen[0] - len(waits) <= 1, "a write of the writer is lost"
    waits.sort()
    return Result(seconds, waits[int(len(waits) * 0.99)], waits[-1], len(waits))


@contextmanager
def _writer(url: str, count: int, home: Path) -> Iterator[list[float]]:
    """Run pgbench for a block; what its writes waited, in seconds, is there behind the block."""
    script = home / "write.sql"
    script.write_text(
        f"\\set id random(1, {count})\nupdate error_events set seen = seen + 1 where id = :id;\n"
    )
    program = shutil.which("pgbench") or str(max(PACKAGED.glob("*/bin/pgbench")))
    options = ["-n", "-c", "1", "-R", "300", "-T", "86400", "-l", "-f", str(script)]
    waits: list[float] = []
    with (home / "out").open("w") as out:
        child = subprocess.Popen([program, *options, url], cwd=home, stdout=out, stderr=out)
        try:
            _until_it_writes(url, child)
            yield waits
        finally:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(END)  # it closes its log when its session is ended
            child.wait(60)
    for log in home.glob("pgbench_log.*"):
        waits += [int(line.split()[2]) / 1_000_000 for line in log.read_text().splitlines()]


def _until_it_writes(url: str, child: subprocess.Popen[bytes]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(WRITES).fetchone() is None:
            assert child.poll() is None, "pgbench ended"
            time.sleep(0.01)


def _run(url: str, statement: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).rowcount


def _loop(url: str) -> None:
    while _run(url, LOOP):
        pass


def _windlass(home: Path, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema if exists windlass cascade")
        connection.execute("drop table if exists schema_migrations")
    program = str(Path(sys.executable).with_name("windlass"))
    done = subprocess.run(
        [program, "migrate", "--env", "dev"],
        cwd=home,
        env={**os.environ, "URL": url},
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


if __name__ == "__main__":
    main()
