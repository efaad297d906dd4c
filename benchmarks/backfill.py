"""A backfill of many rows beside a writer: one UPDATE, a naive loop, and windlass.

Run: .venv/bin/python benchmarks/backfill.py [ROWS]
ROWS is how many `error_events` there are (5000000). The writer changes one row at a time, anywhere,
for as long as the backfill takes. The naive loop is `UPDATE … WHERE id IN (SELECT … LIMIT 10000)`
until nothing is left, as it is written by hand. Every row is looked at afterwards.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
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
            ways: dict[str, Callable[[], None]] = {
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


def _measured(url: str, count: int, way: Callable[[], None]) -> Result:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in MAKE.format(rows=count).split(";")[:-1]:
            connection.execute(statement.encode())
    over, waits = threading.Event(), list[float]()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.is_set():
                began = time.perf_counter()
                connection.execute(
                    "update error_events set seen = seen + 1 where id = %s",
                    (random.randrange(1, count + 1),),  # no secret
                )
                waits.append(time.perf_counter() - began)
                time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    began = time.perf_counter()
    way()
    seconds = time.perf_counter() - began
    over.set()
    writer.join()
    with psycopg.connect(url) as connection:
        wrong = connection.execute(WRONG).fetchone()
        seen = connection.execute("select sum(seen) from error_events").fetchone()
    assert wrong == (0,), f"{wrong} rows are wrong"
    assert seen == (len(waits),), "a write of the writer is lost"
    waits.sort()
    return Result(seconds, waits[int(len(waits) * 0.99)], waits[-1], len(waits))


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
