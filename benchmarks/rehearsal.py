"""The sample's migrations rehearsed on a large copy: what an approver reads, and what it costs.

Run: .venv/bin/python benchmarks/rehearsal.py [ROWS of error_events, 5,000,000 by default]
The floor is what no rehearsal can leave out: pg_restore into an empty database of the same server,
then the migrations by psycopg as they are written. Use the ratio.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from pgwindlass.parser.file import parse
from pgwindlass.postgres.clients import find_clients
from pgwindlass.postgres.embedded import running

ROOT = Path(__file__).resolve().parent.parent
WINDLASS = Path(sys.executable).with_name("windlass")
BASE = "20260801_090000_create_base_tables"
DEPLOY_YML = """\
project: bench
migrations: {{directory: {migrations}}}
backups: {{to: "file://{home}/backups", jobs: 1}}
rehearsal: {{blocks_at_most: 10m}}
environments:
  uat: {{tier: acceptance, database: "${{DATABASE_URL}}"}}
"""
# One in ten payloads has no code, as in the sample's own data.
EVENTS = """
insert into error_events (environment_id, payload)
select null, case when i % 10 = 0 then '{{"message": "lost"}}'::jsonb
    else jsonb_build_object('status_code', 400 + i % 100, 'message', md5(i::text)) end
from generate_series(1, {rows}) i
"""


def main() -> None:
    """Print the rehearsal's table, and the times."""
    rows = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory(prefix="wl-bench-") as name:
        home = Path(name)
        home.chmod(0o755)
        with running(home / "pg") as secret:
            url = secret.reveal()
            (home / "deploy.yml").write_text(
                DEPLOY_YML.format(home=home, migrations=ROOT / "migrations")
            )
            os.environ["DATABASE_URL"] = url
            _windlass(home, "migrate", "--env", "uat", "--to", BASE)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(EVENTS.format(rows=rows).encode())
                connection.execute("vacuum analyze error_events")
            _windlass(home, "backup", "--env", "uat")
            began = time.monotonic()
            print(_windlass(home, "rehearse", "--env", "uat"), flush=True)
            ours = time.monotonic() - began
            floor = _floor(home, url)
        print(f"floor: restore and migrations {floor:6.1f} s  1.00 ×")
        print(f"windlass rehearse             {ours:6.1f} s  {ours / floor:.2f} ×")


def _windlass(home: Path, *arguments: str) -> str:
    result = subprocess.run(
        [str(WINDLASS), *arguments], cwd=home, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        sys.exit(f"windlass {' '.join(arguments)}: {result.stderr}")
    return result.stdout


def _floor(home: Path, url: str) -> float:
    files = [path for path in (home / "backups").rglob("*") if path.is_file()]
    archive = max(files, key=lambda path: path.stat().st_size)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create database floor")
        clients = find_clients(connection.info.server_version)
    floor_url = psycopg.conninfo.make_conninfo(url, dbname="floor")
    began = time.monotonic()
    subprocess.run(
        [
            *clients.command("pg_restore", "--single-transaction", f"--dbname={floor_url}"),
            str(archive),
        ],
        check=True,
    )
    with psycopg.connect(floor_url, autocommit=True) as connection:
        for file in sorted((ROOT / "migrations").glob("*.sql")):
            if file.stem != BASE and not file.stem.endswith(("_rollback", "_verify")):
                for statement in parse(file, file.read_text()).statements:
                    connection.execute(statement.sql.encode())
    return time.monotonic() - began


if __name__ == "__main__":
    main()
