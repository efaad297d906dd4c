"""What the cells of one worker share: a server, its prepared databases, a store, a service."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from tests.fix_proxy import Proxy
from tests.kit import Ran
from tests.npm_postgres import hand_over
from tests.reliability import bucket, cluster
from tests.reliability.bucket import Remote, credentials
from tests.reliability.cells import HOLE, Fault, Verb
from tests.reliability.cluster import Cluster
from tests.reliability.project import Site
from tests.reliability.run import Run, windlass
from tests.reliability.service import Service, serve
from tests.reliability.state import Facts
from tests.reliability.stops import Halt

DATABASE = "shop"
LIMIT = 25  # connections: a swap takes them to 0 for a moment
# What the history of each prepared database is.
STAGES: dict[str, tuple[int, ...]] = {
    "nothing": (),  # not even an identity
    "empty": (),
    "two": (1, 2),
    "many": (1, 2),  # with more backups
    "five": (1, 2, 3, 4, 5),
    "alembic": (1, 2),
}
BACKUPS = {"two": 1, "many": 2, "five": 1, "alembic": 1}  # besides those of the deployments


@dataclass
class World:
    """The parts, and the database that a cell has for itself."""

    base: Path
    primary: Cluster
    service: Service
    proxy: Proxy
    current: Cluster  # the primary; after a failover what was its standby
    through_proxy: bool = False
    over_tcp: bool = False  # both ends of the line have a kernel that sends keepalives
    far: bool = False  # the store is the remote one
    remote: Remote | None = None
    ends: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    second: Cluster | None = None
    outputs: list[Ran] = field(default_factory=list)
    prepared: set[str] = field(default_factory=set)
    began: Facts = field(default_factory=Facts)  # what was so before a cell

    @property
    def site(self) -> Site:
        return Site(self.base / "site")

    @property
    def store(self) -> Path:
        if self.far and self.remote is not None:
            return self.remote.files
        return self.base / "store" / "backups"

    @property
    def url(self) -> str:
        if self.through_proxy:
            return f"postgresql://postgres@127.0.0.1:{self.proxy.port}/{DATABASE}"
        if self.over_tcp:
            return f"postgresql://postgres@127.0.0.1:{self.current.port}/{DATABASE}"
        return self.current.url(DATABASE)

    def variables(self) -> dict[str, str]:
        """Return the environment of a run."""
        return {
            **os.environ,
            "DATABASE_URL": self.url,
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(self.site.home / "tmp"),
            **(credentials() if self.far else {}),
            "CONFIRM_RESTORE": "yes",
            "CONFIRM_ROLLBACK": "yes",
            "CONFIRM_HISTORY": "yes",
        }

    def windlass(self, *arguments: str, within: float = 180.0) -> Ran:
        """Run a task that nobody disturbs."""
        return windlass(arguments, cwd=self.site.home, env=self.variables(), within=within)

    def begin(self, arguments: tuple[str, ...], halt: Halt) -> Run:
        """Begin a run that stops where it is told."""
        return Run.begin(arguments, cwd=self.site.home, env=self.variables(), halt=halt)

    def reset(self, verb: Verb, fault: Fault | None = None) -> None:
        """Give the next cell the database of its verb's stage, the backups, and a project."""
        self.current = self.primary
        self.over_tcp = fault is HOLE
        self.through_proxy = fault is not None and fault.group in ("line", "standby")
        self.through_proxy &= not self.over_tcp
        far = fault is not None and fault.remote
        self.proxy.upstream = self.primary.socket
        self.service.become("ok")
        self.far = False
        self.prepare(verb.stage)
        self.far = far
        if far and self.remote is None:
            self.remote, end = bucket.started(self.base / "remote")
            self.ends.callback(end)
        self._empty_of(verb.stage)
        self._write(verb)
        if verb.edited:
            self.site.edit(verb.edited)
        if verb.nameless:
            self.primary.execute("delete from windlass.identity", database=DATABASE)
        if verb.approved:
            self._run("plan", "--env", "uat", "--out", "plan.json")
            self._run("approve", "--env", "uat", "--plan", "plan.json", "--key", "ann")

    def _write(self, verb: Verb) -> None:
        self.site.write(
            verb.files,
            store=f"s3://{bucket.NAME}/backups" if self.far else f"file://{self.store}",
            endpoint=self.remote.faults.url if self.far and self.remote else "",
            base_url=self.service.url,
            on_failure=verb.on_failure,
            keep=verb.keep,
            approved=verb.approved,
            engine=verb.engine,
        )

    def prepare(self, stage: str) -> None:
        """Make the database and the store of a stage, as deployments leave them; once."""
        if stage in self.prepared:
            return
        self.prepared.add(stage)
        before = {"many": "two", "five": "two"}.get(stage, "")
        numbers = STAGES[stage]
        if before:
            self.prepare(before)
        self._empty_of(before)
        engine: Literal["sql", "alembic"] = "alembic" if stage == "alembic" else "sql"
        self._write(Verb(stage, (), stage, numbers, (), (), engine=engine))
        if numbers:
            self._run("deploy", "--env", "uat")
        for _ in range(BACKUPS.get(stage, 0)):
            self._run("backup", "--env", "uat")
        if self.store.exists():
            shutil.copytree(self.store, self.base / "saved" / stage)
        self.primary.execute(f"create database of_{stage} template {DATABASE} strategy file_copy")

    def _run(self, *arguments: str) -> None:
        ran = self.windlass(*arguments)
        assert ran.code == 0, ran.err

    def _empty_of(self, stage: str) -> None:
        """Drop what the last cell had; begin with a stage's database and store, or with none."""
        databases = self.primary.execute(
            "select datname from pg_database where datname ~ '^shop(_|$)'"
        )
        for (name,) in databases:
            self.primary.execute(f'drop database "{name}" with (force)')
        self.primary.execute(
            f"create database {DATABASE} template {f'of_{stage}' if stage else 'template1'} "
            "strategy file_copy tablespace small",
            f"alter database {DATABASE} connection limit {LIMIT}",
        )
        shutil.rmtree(self.store, ignore_errors=True)
        saved = self.base / "saved" / stage
        if stage and saved.exists():
            shutil.copytree(saved, self.store)

    def fail_over_later(self) -> None:
        """Make a standby that gets nothing of what comes now."""
        home = self.base / "second"
        shutil.rmtree(home, ignore_errors=True)
        self.second = cluster.standby(self.primary, home, self.base / "disk")
        self.second.execute("alter system set primary_conninfo = ''", "select pg_reload_conf()")
        # The sender would notice late that nobody listens.
        gone = "select count(pg_terminate_backend(pid)) from pg_stat_replication"
        cluster.until(lambda: self.primary.execute(gone) == [(0,)], 10)

    def fail_over(self) -> None:
        """Let the standby serve instead; nobody reaches the primary any more."""
        assert self.second is not None
        self.second.execute("select pg_promote()")
        self.proxy.refuse()
        self.proxy.upstream = self.second.socket
        self.current = self.second
        self.proxy.heal()

    def settle(self) -> None:
        """Take away what a cell leaves of its own parts."""
        if self.second is not None:
            self.second.stop()
            self.second = None
        self.current = self.primary
        if self.remote is not None:
            self.remote.heal()


def _small(place: Path, size: str) -> None:
    """Mount a file system that is soon full; needs root."""
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(place)]
    if subprocess.run(argv, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Start the parts, and end them after the block."""
    base = Path(tempfile.mkdtemp(prefix="wl-matrix-"))
    base.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        for name, size in (("disk", "400m"), ("store", "12m")):
            _small(base / name, size)
            stack.callback(subprocess.run, ["umount", "-l", str(base / name)], check=True)
        primary = cluster.made(base / "primary")
        stack.callback(primary.stop)
        hand_over(base / "disk")
        primary.execute(f"create tablespace small location '{base}/disk'")
        service = Service()
        server = serve(service)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        proxy = Proxy(primary.socket)
        stack.callback(proxy.stop)
        parts = World(base, primary, service, proxy, primary)
        stack.callback(parts.ends.close)
        stack.callback(parts.settle)
        yield parts
