"""A Prisma project, and the real Prisma CLI in it, on PostgreSQL by a driver of its own."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.kit import ROOT, Project

NODE_MODULES = ROOT / ".servers" / "prisma" / "node_modules"
CONFIG = """\
import { PrismaPg } from "@prisma/adapter-pg";

// Its pool keeps a connection for ten seconds after the last query, and the process with it.
const pool = { connectionString: process.env.DATABASE_URL, idleTimeoutMillis: 100 };

export default {
  schema: "prisma/schema.prisma",
  engine: "js",
  experimental: { adapter: true },
  adapter: async () => new PrismaPg(pool, { schema: "public" }),
};
"""
# The timer of its advisory lock goes on when the lock was had long ago, and the process with it.
NO_WAIT = """\
const original = globalThis.setTimeout;
globalThis.setTimeout = (run, delay, ...rest) => {
  const timer = original(run, delay, ...rest);
  if (delay >= 5000) timer.unref();
  return timer;
};
"""
SCHEMA = """\
datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
"""
# With a driver of its own it needs no engine, and asks for one all the same.
NO_ENGINES = {
    "PRISMA_QUERY_ENGINE_LIBRARY": "/bin/true",
    "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true",
    "PRISMA_ENGINES_CHECKSUM_IGNORE_MISSING": "1",
    "CHECKPOINT_DISABLE": "1",
    "NO_COLOR": "1",
}


@dataclass
class Said:
    """How the CLI ended."""

    code: int
    text: str


@dataclass
class PrismaProject:
    """A project whose migrations are Prisma's."""

    project: Project

    @property
    def migrations(self) -> Path:
        return self.project.migrations

    def migration(self, name: str, sql: str, rollback: str = "", verify: str = "") -> str:
        place = self.migrations / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "migration.sql").write_bytes(sql.encode())
        for file, text in (("rollback.sql", rollback), ("verify.sql", verify)):
            if text:
                (place / file).write_text(text)
        return name

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(NODE_MODULES / ".bin" / "prisma"), "migrate", *arguments],
            cwd=self.project.home,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **NO_ENGINES,
                "DATABASE_URL": self.project.url,
                "NODE_OPTIONS": f"--require {self.project.home / 'no-wait.cjs'}",
            },
            stdin=subprocess.DEVNULL,
        )

    def cli(self, *arguments: str) -> Said:
        """Run `prisma migrate …` for real."""
        child = self.start(*arguments)
        text, _ = child.communicate(timeout=60)
        return Said(child.returncode, text)


@pytest.fixture
def prisma(tmp_path: Path, database16: Database, server16: Server) -> Callable[[], PrismaProject]:
    """Return a function that makes the project, on a database that has nothing."""

    def make() -> PrismaProject:
        project = Project(
            tmp_path / "shop",
            database16.url.reveal(),
            engine="prisma",
            throwaway=server16.url(),
        )
        found = PrismaProject(project)
        (found.migrations / "migration_lock.toml").write_text('provider = "postgresql"\n')
        (project.home / "prisma" / "schema.prisma").write_text(SCHEMA)
        (project.home / "prisma.config.mjs").write_text(CONFIG)
        (project.home / "no-wait.cjs").write_text(NO_WAIT)
        (project.home / "node_modules").symlink_to(NODE_MODULES)
        return found

    return make
