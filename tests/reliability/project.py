"""The project of the matrix: five migrations of which each counts itself, and a service.

Each migration adds one to its own counter, and takes one away when it is undone. So what ran
twice, or was undone twice, shows.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fix_alembic import PYTHON
from tests.kit import new_key

DEPLOY_YML = """\
project: shop
backups: {{to: "{store}", endpoint: "{endpoint}", keep: {{last: {keep}}}, jobs: 1}}
environments:
  dev:
    tier: development
    database: ${{DATABASE_URL}}
    lock: {{timeout: [50ms], wait: 100ms}}
  uat:
    tier: acceptance
    database: ${{DATABASE_URL}}
    lock: {{timeout: [100ms, 200ms], wait: 5s}}
    restart:
      with: command
      run: [{python}, -I, -S, "{home}/restart.py"]
      identity: [cat, "{home}/identity"]
      settle: 50ms
      within: 5s
    smoke:
      base_url: {base_url}
      deadline: 1500ms
      successes: 2
      pause: 20ms
      checks: [{{get: /health, expect: {{json: {{status: ok}}}}}}]
    on_failure: {on_failure}
"""
APPROVAL = """\
    approval: {from: ssh, signers: approvers}
    steps: {approval: required}
"""

# The service is a file. `slow` makes a restart take long; the log has both ends of each.
RESTART = """\
import os, time
home = {home!r}
def log(text):
    with open(home + "/restarts", "a") as file:
        file.write(text + " " + str(os.getpid()) + "\\n")
log("begin")
if os.path.exists(home + "/slow"):
    time.sleep(2)
with open(home + "/identity", "w") as file:
    file.write(os.urandom(8).hex())
log("end")
"""
ALEMBIC = """\
migrations: {{engine: alembic, ini: backend/alembic.ini, python: "{python}"}}
"""
INI = """\
[alembic]
script_location = %(here)s/alembic
"""
ENV = """\
import os
from alembic import context
from sqlalchemy import create_engine, pool

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """\
from alembic import op

revision, down_revision = {name!r}, {before!r}


def upgrade():
    for statement in {up!r}:
        op.execute(statement)


def downgrade():
    for statement in {down!r}:
        op.execute(statement)
"""
NAMES = tuple(f"2026080{number}_000000_m{number}" for number in range(1, 7))
COUNTED = "insert into counts values ('m{0}', 1) on conflict (name) do update set n = counts.n + 1;"
UNCOUNTED = "update counts set n = n - 1 where name = 'm{0}';"
FIRST = (
    "create table counts (name text primary key, n int not null);\n"
    "create table kept (i int primary key, value text not null);\n"
    "insert into kept select i, md5(i::text) from generate_series(1, 500) i;\n"
)
ROWS = "create table t{0} (i int primary key, filler text);\ninsert into t{0} select i, "
ROWS += "repeat('x', 500) from generate_series(1, 200) i;\n"
SQL = {
    1: FIRST + COUNTED,
    2: ROWS + COUNTED,
    3: ROWS + COUNTED,
    4: "-- windlass: transaction=off\n" + COUNTED + "\ncreate index concurrently kept_value on kept"
    " (value);\n",
    5: "-- windlass: phase=after\n" + ROWS + COUNTED,
    6: ROWS + COUNTED,
}
ROLLBACK = {
    1: "drop table kept, counts;",
    2: "drop table t{0};\n" + UNCOUNTED,
    3: "drop table t{0};\n" + UNCOUNTED,
    4: "-- windlass: transaction=off\ndrop index concurrently if exists kept_value;\n" + UNCOUNTED,
    5: "drop table t{0};\n" + UNCOUNTED,
    6: "drop table t{0};\n" + UNCOUNTED,
}


def _statements(text: str, number: int) -> list[str]:
    """Return the statements of a migration, one by one."""
    lines = text.format(number).split(";\n")
    return [line.rstrip(";\n") for line in lines if line.strip()]


@dataclass(frozen=True)
class Site:
    """A directory with deploy.yml, migrations and the service's files."""

    home: Path

    def write(
        self,
        numbers: Sequence[int],
        *,
        store: str,
        endpoint: str,
        base_url: str,
        on_failure: str,
        keep: int,
        approved: bool = False,
        engine: str = "sql",
    ) -> None:
        """Write all of it anew, with these migrations; `approved`: uat asks for a signature."""
        shutil.rmtree(self.home, ignore_errors=True)
        (self.home / "migrations").mkdir(parents=True)
        (self.home / "tmp").mkdir()
        (self.home / "identity").write_text("first")
        (self.home / "restart.py").write_text(RESTART.format(home=str(self.home)))
        (self.home / "deploy.yml").write_text(
            DEPLOY_YML.format(
                home=self.home,
                python=sys.executable,
                store=store,
                endpoint=endpoint,
                base_url=base_url,
                on_failure=on_failure,
                keep=keep,
            )
            + (APPROVAL if approved else "")
            + (ALEMBIC.format(python=PYTHON) if engine == "alembic" else "")
        )
        if approved:
            line = f"ann@example.com {new_key(self.home / 'ann')}"
            (self.home / "approvers").write_text(line)
        if engine == "alembic":
            self._write_alembic(numbers)
            return
        for number in numbers:
            self.add(number)

    def _write_alembic(self, numbers: Sequence[int]) -> None:
        """Write the same as revisions; each is one transaction."""
        backend = self.home / "backend"
        versions = backend / "alembic" / "versions"
        versions.mkdir(parents=True)
        (backend / "alembic.ini").write_text(INI)
        (backend / "alembic" / "env.py").write_text(ENV)
        before = None
        for number in numbers:
            name = NAMES[number - 1]
            up, down = (SQL[2], ROLLBACK[2]) if number == 4 else (SQL[number], ROLLBACK[number])
            text = REVISION.format(
                name=name, before=before, up=_statements(up, number), down=_statements(down, number)
            )
            (versions / f"{name}.py").write_text(text)
            before = name

    def add(self, number: int) -> None:
        """Write one migration, and its rollback script."""
        file = self.home / "migrations" / f"{NAMES[number - 1]}.sql"
        file.write_text(SQL[number].format(number))
        file.with_name(f"{NAMES[number - 1]}_rollback.sql").write_text(
            ROLLBACK[number].format(number)
        )

    def edit(self, number: int) -> None:
        """Change the file of a migration, but not what it does."""
        file = self.home / "migrations" / f"{NAMES[number - 1]}.sql"
        file.write_text(f"{file.read_text()}\n-- changed\n")

    def overlapping(self) -> bool:
        """Tell whether a restart began while another one had not ended."""
        log = self.home / "restarts"
        running: set[str] = set()
        for line in log.read_text().splitlines() if log.exists() else ():
            what, pid = line.split()
            if what == "begin" and running:
                return True
            running = running | {pid} if what == "begin" else running - {pid}
        return False
