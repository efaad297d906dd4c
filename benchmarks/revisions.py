"""A hundred revisions by `windlass migrate` beside `alembic upgrade head` in the same Python.

Run: .venv/bin/python benchmarks/revisions.py [REVISIONS, 100 by default]
Needs the Alembic that tests/install-parts installs. Databases are new each time; the two take
turns, and the fastest of three runs of each counts. Use the ratio.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from pgwindlass.postgres.embedded import running

ROOT = Path(__file__).resolve().parent.parent
WINDLASS = Path(sys.executable).with_name("windlass")
PYTHON = ROOT / ".servers" / "alembic" / "bin" / "python"
RUNS = 3
DEPLOY_YML = """\
project: bench
migrations: {{engine: alembic, ini: backend/alembic.ini, python: {python}}}
environments:
  dev: {{tier: development, database: "${{DATABASE_URL}}"}}
"""
REVISION = """\
import sqlalchemy as sa
from alembic import op

revision = "r{number:04}"
down_revision = {before!r}


def upgrade() -> None:
    op.add_column("error_events", sa.Column("c{number}", sa.Text()))


def downgrade() -> None:
    op.drop_column("error_events", "c{number}")
"""


def main() -> None:
    """Print the times of both."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="wl-bench-") as name:
        home = Path(name)
        home.chmod(0o755)
        _project(home, count)
        results: dict[str, list[float]] = {"alembic upgrade head": [], "windlass migrate": []}
        with running(home / "pg") as secret:
            for run in range(RUNS):
                for tool, times in results.items():
                    times.append(_timed(home, secret.reveal(), tool, run))
    floor = min(results["alembic upgrade head"])
    print(f"{count} revisions, one transaction each")
    for tool, times in results.items():
        print(f"{tool:<22} {min(times):6.2f} s  {min(times) / floor:.2f} ×")


def _project(home: Path, count: int) -> None:
    shutil.copytree(ROOT / "tests" / "projects" / "error_events" / "backend", home / "backend")
    (home / "deploy.yml").write_text(DEPLOY_YML.format(python=os.path.relpath(PYTHON, home)))
    env = home / "backend" / "alembic" / "env.py"
    env.write_text(
        env.read_text().replace(
            "target_metadata=target_metadata)",
            "target_metadata=target_metadata, transaction_per_migration=True)",
        )
    )
    before = "1a2b3c4d5e6f"
    for number in range(count - 1):
        file = home / "backend" / "alembic" / "versions" / f"r{number:04}.py"
        file.write_text(REVISION.format(number=number, before=before))
        before = f"r{number:04}"


def _timed(home: Path, url: str, tool: str, run: int) -> float:
    database = f"{tool.split()[0]}_{run}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {database}".encode())
    target = psycopg.conninfo.make_conninfo(url, dbname=database)
    where = psycopg.conninfo.conninfo_to_dict(target)
    database_url = f"postgresql+psycopg://{where['user']}@/{database}?host={where['host']}"
    ini = (home / "backend" / "alembic.ini").read_text()
    (home / "backend" / "by-hand.ini").write_text(
        ini.replace("driver://user:pass@localhost/dbname", database_url.replace("%", "%%"))
    )
    argv, place = [str(WINDLASS), "migrate", "--env", "dev"], home
    if tool.startswith("alembic"):
        argv = [str(PYTHON), "-m", "alembic", "-c", "by-hand.ini", "upgrade", "head"]
        place = home / "backend"
    began = time.monotonic()
    subprocess.run(
        argv, cwd=place, check=True, capture_output=True, env={**os.environ, "DATABASE_URL": target}
    )
    return time.monotonic() - began


if __name__ == "__main__":
    main()
