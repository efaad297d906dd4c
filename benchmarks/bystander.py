"""The slowest read of a table that is changed behind an open transaction: plain, and by windlass.

Run: .venv/bin/python benchmarks/bystander.py [SECONDS]
SECONDS is how long the transaction stays open (5). Plain is the statement as psql and every peer
that was measured send it: the readers' wait grows with SECONDS.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

from pgwindlass.postgres.embedded import running

DEPLOY_YML = "project: b\nenvironments:\n  dev: {tier: development, database: '${URL}'}\n"
PLAIN = "import sys, psycopg; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
CHANGE = "alter table t add column {name} int"


def main() -> None:
    """Print both slowest reads, when the column arrived after the blocker, and the ratio."""
    held = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "migrations").mkdir()
        (home / "deploy.yml").write_text(DEPLOY_YML)
        (home / "migrations" / "20260801_000000_b.sql").write_text(CHANGE.format(name="b") + ";")
        with running(home / "pg") as secret:
            url = secret.reveal()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("create table t (i int)")
            windlass = str(Path(sys.executable).with_name("windlass"))
            ours = [windlass, "migrate", "--env", "dev"]
            plain = [sys.executable, "-c", PLAIN, url, CHANGE.format(name="a")]
            env = {**os.environ, "URL": url}
            results = {
                "the plain statement": _once(plain, home, env, url, held),
                "windlass migrate": _once(ours, home, env, url, held),
            }
    floor = next(iter(results.values()))[0]
    for title, (slowest, late) in results.items():
        print(
            f"{title:<30} slowest read {slowest * 1000:7.0f} ms  {slowest / floor:6.2f} ×   "
            f"column {late:4.1f} s after the blocker"
        )


def _once(
    argv: list[str], home: Path, env: dict[str, str], url: str, held: float
) -> tuple[float, float]:
    over, slowest = threading.Event(), 0.0

    def read() -> None:
        nonlocal slowest
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.is_set():
                began = time.perf_counter()
                connection.execute("select i from t")
                slowest = max(slowest, time.perf_counter() - began)
                time.sleep(0.01)

    holder = psycopg.connect(url)
    holder.execute("select * from t")
    reader = threading.Thread(target=read)
    reader.start()
    child = subprocess.Popen(argv, cwd=home, env=env, stderr=subprocess.DEVNULL)
    time.sleep(held)
    holder.close()
    left = time.perf_counter()
    code = child.wait()
    late = time.perf_counter() - left
    over.set()
    reader.join()
    assert code == 0, f"{argv[0]} ended with status {code}"
    return slowest, late


if __name__ == "__main__":
    main()
