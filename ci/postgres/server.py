"""A PostgreSQL server of our own: made, started on a private socket, ended. It knows nothing of us.

It has none of our variables, listens on no network address, and runs in a sandbox where there is
one. Its superuser has a name that no role of a database has, so that every role of the database
can be made on it as it is.
"""

import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from .. import process, purposes
from ..errors import UNCHANGED, ChildFailed, StepFailed
from ..secret import Secret
from . import embedded, sandbox

STARTED_WITHIN = 60.0  # seconds; initdb takes half of one
POLL = 0.02  # seconds
# Nothing on it outlives the block: 0.6 of the time of a durable server, where measured.
CARELESS = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "max_wal_size=8GB",
    "maintenance_work_mem=256MB",
)
CLOSED = ("listen_addresses=", "unix_socket_permissions=0700", "port=5432")
# Of libpq's variables none may lead elsewhere, and no password of ours may be asked for.
PINNED = "hostaddr=&port=5432&password=&passfile=/nonexistent&options=&sslmode=disable"
BUILTIN_SINCE = 17  # the locale that knows letters and needs nothing of the system


@dataclass(frozen=True, slots=True)
class Place:
    """An installation, and where its server runs."""

    programs: Path
    major: int
    boxed: bool


@contextmanager
def running(place: Place, base: Path, settings: tuple[str, ...] = ()) -> Iterator[Secret]:
    """Run a server with its data in `base`, and yield its superuser's URL.

    `settings` are more of them, as "name=value".

    Raises:
        StepFailed: it does not start; says why.

    """
    data, socket = base / "data", base / "s"
    passwd = sandbox.passwd_file(base)
    user = sandbox.other_user()
    for directory in (data, socket):
        directory.mkdir(mode=0o700)
        if user is not None:
            shutil.chown(directory, user.name, user.gid)
    if user is not None and not place.boxed:
        embedded.open_to_others(place.programs)
    admin = f"windlass_{secrets.token_hex(8)}"

    def inside(*argv: str) -> tuple[str, ...]:
        if not place.boxed:
            return argv
        reads = sandbox.programs(place.programs)
        return sandbox.command(argv, reads=reads, writes=[data, socket], passwd=passwd)

    runs_as = user.name if user is not None and not place.boxed else None
    locale = "--locale-provider=builtin", "--builtin-locale=C.UTF-8"
    initdb = inside(
        str(place.programs / "initdb"),
        *("--pgdata", str(data), f"--username={admin}"),
        *("--auth=trust", "--encoding=UTF8", "--no-sync"),
        *(locale if place.major >= BUILTIN_SINCE else ()),
    )
    env = {"PATH": sandbox.PATH}
    process.run(initdb, purpose=purposes.SERVER, within=STARTED_WITHIN, env=env, user=runs_as)
    words = [word for setting in (*CLOSED, *CARELESS, *settings) for word in ("-c", setting)]
    postgres = inside(str(place.programs / "postgres"), "-D", str(data), "-k", str(socket), *words)
    url = Secret(f"postgresql://{admin}@/postgres?host={quote(str(socket), safe='')}&{PINNED}")
    # At once: nothing on it is worth an orderly end. bwrap takes the whole namespace with it.
    ends = signal.SIGKILL if place.boxed else signal.SIGQUIT
    with process.background(
        postgres, purpose=purposes.SERVER, env=env, user=runs_as, ends=ends
    ) as check:
        _wait(url, check)
        yield url


def _wait(url: Secret, check: Callable[[], None]) -> None:
    """Return when the server answers.

    Raises:
        StepFailed: it ended, or does not answer in time; says which.

    """
    deadline = time.monotonic() + STARTED_WITHIN
    while True:
        try:
            check()
            psycopg.connect(url.reveal(), connect_timeout=5).close()
        except ChildFailed as error:
            raise StepFailed(
                f"the throwaway server does not start: {error.what}",
                state=UNCHANGED,
                next_step="mend what it says, or name another server: throwaway: URL under "
                "backups in deploy.yml",
            ) from error
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"the throwaway server does not answer within {STARTED_WITHIN:g} s: "
                    f"{' '.join(str(error).split())}",
                    state=UNCHANGED,
                    next_step="see what holds this machine up, or name another server: throwaway: "
                    "URL under backups in deploy.yml",
                ) from error
            time.sleep(POLL)
        else:
            return
