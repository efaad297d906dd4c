"""A small project on disk, as a user would have it, and the real `windlass` run in it."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psycopg

from pgwindlass.config import Settings, load
from pgwindlass.errors import WindlassError
from pgwindlass.model import Finding, StepName, StepResult
from pgwindlass.report.console import Console
from tests import warm

ROOT = Path(__file__).resolve().parent.parent
WINDLASS = Path(sys.executable).with_name("windlass")

DEPLOY_YML = """\
project: shop
backups: {{to: "file://{home}/backups"}}
environments:
  dev:
    tier: development
    database: ${{DATABASE_URL}}
  uat:
    tier: acceptance
    database: ${{DATABASE_URL}}
    lock: {{timeout: [100ms, 200ms], wait: 3s}}
  production:
    tier: production
    database: ${{DATABASE_URL}}
    approval: {{from: terminal}}
    signing: {{signers: "{keys}/backup-signers", key_file: "{keys}/backup-key"}}
    steps: {{rehearsal: off}}
    lock: {{timeout: [100ms, 200ms], wait: 3s}}
    restart:
      with: command
      run: [{python}, "{home}/restart.py"]
      identity: [cat, "{home}/identity"]
      settle: 100ms
      within: 5s
    smoke:
      base_url: {base_url}
      deadline: 3s
      successes: 1
      pause: 50ms
      checks: [{{get: /health, expect: {{json: {{status: ok}}}}}}]
"""

# A service that is a file: a restart writes a new identity, and keeps a log of its own.
RESTART = """\
import os, pathlib, secrets
home = pathlib.Path({home!r})
(home / "identity").write_text(secrets.token_hex(8))
with (home / "restarts").open("a") as log:
    log.write("restart\\n")
"""


@cache
def signing_keys() -> Path:
    """Return a directory with a key that signs production's backups, and the file that says so."""
    directory = Path(tempfile.mkdtemp(prefix="wl-keys-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    signers = directory / "backup-signers"
    signers.write_text(f"production {new_key(directory / 'backup-key')}")
    return directory


def new_key(file: Path) -> str:
    """Make an SSH key without a passphrase, and return the line of its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file.with_name(f"{file.name}.pub").read_text()


def parts(error: WindlassError) -> str:
    """Return all that a person sees of an error: three lines."""
    return f"{error.what}\n{error.state}\n{error.next_step}"


@dataclass
class Project:
    """A directory with deploy.yml and migrations; `url` is the database of all environments."""

    home: Path
    url: str
    base_url: str = "http://127.0.0.1:9"
    env: dict[str, str] = field(default_factory=dict)
    engine: Literal["sql", "prisma"] = "sql"
    # A server for copies: one that a run makes for itself takes most of a second of the processor.
    throwaway: str = ""

    def __post_init__(self) -> None:
        self.migrations.mkdir(parents=True)
        (self.home / "identity").write_text("first")
        (self.home / "restart.py").write_text(RESTART.format(home=str(self.home)))
        self.deploy_yml.write_text(
            DEPLOY_YML.format(
                home=self.home, python=sys.executable, base_url=self.base_url, keys=signing_keys()
            )
            + ("migrations: {engine: prisma}\n" if self.engine == "prisma" else "")
        )
        if self.throwaway:
            self.set_backups(f'throwaway: "{self.throwaway}"')

    def set_backups(self, *more: str) -> None:
        """Write the section backups anew: where they lie, and more keys of it."""
        keys = ", ".join((f'to: "file://{self.home}/backups"', *more))
        lines = [
            f"backups: {{{keys}}}" if line.startswith("backups:") else line
            for line in self.deploy_yml.read_text().splitlines()
        ]
        self.deploy_yml.write_text("\n".join(lines) + "\n")

    @property
    def migrations(self) -> Path:
        prisma = self.engine == "prisma"
        return self.home / ("prisma/migrations" if prisma else "migrations")

    @property
    def deploy_yml(self) -> Path:
        return self.home / "deploy.yml"

    @property
    def restarts(self) -> int:
        log = self.home / "restarts"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def migration(self, name: str, sql: str, rollback: str | None = "", verify: str = "") -> str:
        """Write a migration; `rollback` None leaves the script out."""
        for extra, text in (("", sql), ("_rollback", rollback), ("_verify", verify or None)):
            if text is not None:
                self.script(name, extra).write_text(text)
        return name

    def script(self, name: str, extra: str = "") -> Path:
        """Return the file of a script, in a directory that is there."""
        if self.engine == "sql":
            return self.migrations / f"{name}{extra}.sql"
        (self.migrations / name).mkdir(exist_ok=True)
        return self.migrations / name / f"{extra.removeprefix('_') or 'migration'}.sql"

    @property
    def names(self) -> list[str]:
        """The names of the migrations on disk."""
        if self.engine == "prisma":
            return sorted(path.name for path in self.migrations.iterdir() if path.is_dir())
        stems = [path.stem for path in self.migrations.glob("*.sql")]
        return sorted(one for one in stems if not one.endswith(("_rollback", "_verify")))

    def applied(self, url: str = "") -> list[str]:
        """Return the names in the history, from the server itself where `url` is a pooler's."""
        table = "schema_migrations" if self.engine == "sql" else "_prisma_migrations"
        with psycopg.connect(url or self.url) as connection:
            query = f"select migration_name from {table} order by 1"
            return [row[0] for row in connection.execute(query.encode()).fetchall()]

    def settings(self, environment: str) -> Settings:
        return load(self.deploy_yml).environment(environment, {"DATABASE_URL": self.url})

    def variables(self) -> dict[str, str]:
        return {**os.environ, "DATABASE_URL": self.url, "LC_ALL": "C.UTF-8", **self.env}

    def run(self, *arguments: str, **more: str) -> "Ran":
        """Run the real program in a process of its own, without a terminal."""
        env = {**self.variables(), **more}
        answer = warm.run(arguments, cwd=self.home, env=env, within=90)
        return Ran(answer["code"], answer["out"], answer["err"])

    def json(self, *arguments: str) -> Any:  # whatever the task prints
        """Run a task with --json and return its document."""
        ran = self.run(*arguments, "--json")
        return json.loads(ran.out)

    def deployments(self, environment: str) -> Any:  # as JSON
        """Return the deployments of the history, newest first."""
        return self.json("history", "--env", environment)["deployments"]


@dataclass(frozen=True)
class Ran:
    """How a child ended."""

    code: int
    out: str
    err: str

    def error(self) -> list[str]:
        """The three lines of the error."""
        lines = self.err.splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("✗ "))
        return lines[first:]


class Quiet(Console):
    """A reporter that keeps what it is told instead of printing it."""

    def __init__(self) -> None:
        self.results: list[StepResult] = []
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def started(self, step: StepName, *, undo: bool = False) -> None: ...

    def progress(self, done: int, total: int | None, unit: str) -> None: ...

    def item(self, step: StepName, what: str, detail: str, seconds: float) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def alarm(self, text: str) -> None:
        self.notes.append(text)

    def finished(self, result: StepResult) -> None:
        self.results.append(result)


def tables(url: str) -> set[str]:
    """Return the user tables of a database."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'")
        return {row[0] for row in rows.fetchall()}
