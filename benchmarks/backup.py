"""A backup into a bucket, against the peer everybody ships; its proofs; and what memory it takes.

Run, from the repository: .venv/bin/python -m benchmarks.backup [GIGABYTES]
The peer is `pg_dump -Fc | aws s3 cp -`, where the aws tool is installed; the floor is pg_dump with
the same compression into nothing. Each line is a process of its own, and memory its peak. Server,
store and we share this machine's cores: use the ratios.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from pgwindlass.postgres.clients import find_clients
from pgwindlass.postgres.embedded import running
from tests.rclone import serving

# Half of it compresses well, half does not: 4 kB of each per row.
ROW = """
create table {name} (id int primary key, words text, noise text);
alter table {name} alter words set storage external;
insert into {name} select i, repeat('all work and no play ', 200),
  (select string_agg(md5(i::text || j || '{name}'), '') from generate_series(1, 128) j)
from generate_series(1, {rows}) i;
"""
SHARES = (0.4, 0.3, 0.2, 0.1)  # of the rows, by table
BYTES_PER_ROW = 8500
OURS = """
import datetime, pathlib, sys
from pgwindlass.backup import catalog, dump
from pgwindlass.backup.verify import verify_backup
from pgwindlass.config.sections import BackupsConfig
from pgwindlass.database.connection import Database
from pgwindlass.secret import Secret
from pgwindlass.stores.s3 import S3Store
store = S3Store(bucket="bench", endpoint=sys.argv[2])
database = Database(url=Secret(sys.argv[1]), deployment_id="bench")
config = BackupsConfig(to="s3://bench", jobs={jobs})
silent = lambda done, total: None
if {level!r}:
    manifest = catalog.find_backup(store, environment="uat", which="latest").manifest
    verify_backup(manifest, store, config, level={level!r}, progress=silent)
else:
    order = dump.Order(environment="uat", deployment="jobs{jobs}")
    now = lambda: datetime.datetime.now(datetime.UTC)
    dump.take(database, store, order, config, now=now, progress=silent)
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""
WORK: dict[str, dict[str, object]] = {
    "windlass, one pg_dump": {"jobs": 1, "level": ""},
    "windlass, two pg_dumps": {"jobs": 2, "level": ""},
    "proof: checksum": {"jobs": 1, "level": "checksum"},
    "proof: rows": {"jobs": 1, "level": "rows"},
}


def main() -> None:
    """Print wall time, ratio to the floor and peak memory of each."""
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    with tempfile.TemporaryDirectory(prefix="wl-bench-") as name:
        home = Path(name)
        home.chmod(0o755)
        with running(home / "pg") as secret, serving(home) as endpoint:
            url = secret.reveal()
            _fill(url, size)
            floor = 0.0
            for title, argv in _candidates(url, endpoint).items():
                began = time.monotonic()
                result = subprocess.run(argv, capture_output=True, text=True, check=False)
                if result.returncode != 0:
                    sys.exit(f"{title}: {result.stderr}")
                took = time.monotonic() - began
                floor = floor or took
                memory = f"{int(result.stdout):5} MB" if title in WORK else ""
                print(f"{title:<28} {took:7.1f} s  {took / floor:5.2f} ×  {memory}", flush=True)


def _candidates(url: str, endpoint: str) -> dict[str, list[str]]:
    with psycopg.connect(url) as connection:
        clients = find_clients(connection.info.server_version)
    options = ("--format=custom", f"--compress={clients.compression}", f"'{url}'")
    dump = " ".join(clients.command("pg_dump", *options))
    shell = ["bash", "-o", "pipefail", "-c"]
    commands = {"floor: pg_dump into nothing": [*shell, f"{dump} | cat > /dev/null"]}
    aws = shutil.which("aws")
    if aws:
        peer = f"{dump} | {aws} s3 cp --endpoint-url {endpoint} - s3://bench/peer.pgc"
        commands["peer: pg_dump | aws s3 cp -"] = [*shell, peer]
    for title, work in WORK.items():
        commands[title] = [sys.executable, "-c", OURS.format(**work), url, endpoint]
    return commands


def _fill(url: str, size: float) -> None:
    """Fill four tables, the sizes of which differ, up to so many gigabytes together."""
    rows = int(size * 1e9 / BYTES_PER_ROW)
    with psycopg.connect(url, autocommit=True) as connection:
        for number, share in enumerate(SHARES):
            connection.execute(ROW.format(name=f"t{number}", rows=int(rows * share)).encode())


if __name__ == "__main__":
    main()
