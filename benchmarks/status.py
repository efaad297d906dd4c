"""`windlass status` on 1,000 applied migrations, beside two floors, in turn, as ratios.

Run: .venv/bin/python benchmarks/status.py [ROUNDS]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from pgwindlass.parser.file import checksum_of
from pgwindlass.postgres.embedded import running

MIGRATIONS = 1000
DEPLOY_YML = "project: b\nenvironments:\n  dev: {tier: development, database: '${URL}'}\n"
BARE = (
    "import os, psycopg; "
    "c = psycopg.connect(os.environ['URL']); "
    "print(len(c.execute('select * from schema_migrations').fetchall()))"
)
HASHED = (
    "import hashlib, pathlib; "
    "[hashlib.sha256(p.read_bytes()).hexdigest() for p in pathlib.Path('migrations').iterdir()]"
)


def main() -> None:
    """Print the median of each command in milliseconds and its ratio to the first floor."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        with running(home / "pg") as url:
            _fill(home, url.reveal())
            env = {**os.environ, "URL": url.reveal()}
            python = sys.executable
            windlass = str(Path(python).with_name("windlass"))
            commands = {
                "floor: connect and read 1,000 rows": [python, "-c", BARE],
                "floor: read and hash 1,000 files": [python, "-c", HASHED],
                "windlass status": [windlass, "status", "--env", "dev"],
            }
            times: dict[str, list[float]] = {title: [] for title in commands}
            for _ in range(rounds):
                for title, argv in commands.items():
                    times[title].append(_once(argv, home, env))
    floor = statistics.median(next(iter(times.values())))
    for title, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{title:<38} {median * 1000:8.0f} ms  {median / floor:6.2f} ×")


def _fill(home: Path, url: str) -> None:
    (home / "migrations").mkdir()
    (home / "deploy.yml").write_text(DEPLOY_YML)
    with psycopg.connect(url) as connection:
        connection.execute(
            "create table schema_migrations (migration_name text primary key, checksum text, "
            "applied_at timestamptz default now())"
        )
        for number in range(MIGRATIONS):
            text = f"create table t{number} (i int);\n"
            stem = f"20260801_{number:06d}_t{number}"
            (home / "migrations" / f"{stem}.sql").write_text(text)
            connection.execute(
                "insert into schema_migrations values (%s, %s)", (stem, checksum_of(text))
            )


def _once(argv: list[str], home: Path, env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, cwd=home, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
