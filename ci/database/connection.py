"""Connections to the target, as every step wants them, and what can be read from it."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ..errors import UNCHANGED, ConfigError, LockTimeout, Refused, Unchanged, Unreachable
from ..model import Target
from ..secret import Secret, redact, remember
from . import errors, opening, transient
from .kept import KeptSession
from .patience import Patience
from .pinned import PATH, PinnedConnection
from .remedies import remedy
from .silence import Seen, Sight
from .spare import Spare

T = TypeVar("T")

# A machine that does not answer any more is found dead after GONE_AFTER seconds, at both ends, not
# after the kernel's two hours: idle, by 15 + 3 × 5 s of keepalives; with bytes that nobody
# acknowledges, by the user timeout.
GONE_AFTER = 30
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": f"{GONE_AFTER}000",
}
# A stream may stand still for long on a line that is alive: a store that is slow holds pg_dump up,
# and a server that is busy pg_restore. The kernel would take that for a line that is dead.
STREAMING = {name: value for name, value in KEEPALIVES.items() if name != "tcp_user_timeout"}
# The same at the server's end. On a Unix socket, and where its system has no such option, the
# server takes the settings and does nothing.
KEPT_BY_SERVER = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{GONE_AFTER}000",
}
CONNECT_WITHIN = 10  # seconds, per address
AGAIN_WITHIN = 3  # seconds, the same, in a run that has waited for as long as it may
LOOK_ON = ("watch", "lease", "trace")  # they wait for nothing: their run would wait for them
KEPT, SPARE = "session", "spare"
IMPATIENT = (*LOOK_ON, KEPT, SPARE)  # where these two fail, the use that wants one waits
UNSPARED = (*LOOK_ON, KEPT, SPARE, "lock")  # they hold a session for long
READ_WITHIN = 5  # seconds for a table that somebody has locked against readers
READ_ONLY = f"set transaction read only; set local lock_timeout = '{READ_WITHIN}s'"

TARGET = """
    select (select system_identifier from pg_catalog.pg_control_system()),
           pg_catalog.current_database(), pg_catalog.current_setting('server_version_num')::int
"""

EXCLUSIVE = """
    select l.pid, a.application_name, l.relation::pg_catalog.regclass::text
    from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
    join pg_catalog.pg_class c on c.oid = l.relation
    where l.mode = 'AccessExclusiveLock' and l.granted and c.relkind in ('r', 'p', 'm', 'v')
      and a.datname = pg_catalog.current_database()
"""

# Settings that decide what a statement means or how long it may take are pinned, never inherited.
# The first two a pooler keeps per client; the others would leak from there into other sessions.
PINNED = "set timezone = 'UTC'; set standard_conforming_strings = on"
PINNED_DIRECT = """
    set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0;
""" + "; ".join(f"set {name} = {value}" for name, value in KEPT_BY_SERVER.items())
# So that the statement of a client that was killed ends too. Servers on macOS and Windows refuse
# it, and 13 does not know it.
CHECK_CLIENT = "set client_connection_check_interval = '5s'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where the target is. Holds no connection, except inside the block of `keep_session`."""

    url: Secret
    deployment_id: str = "-"
    # Roles besides our own whose tables are believed (`trusted`); None: everybody's, for a copy.
    owners: tuple[str, ...] | None = ()
    name: str = field(default="", init=False)
    kept: KeptSession | None = field(default=None, repr=False, compare=False)
    spare: Spare | None = field(default=None, repr=False, compare=False)
    patience: Patience = field(default_factory=Patience, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.parameters().get("dbname", ""))
        remember(self.parameters().get("password", ""))

    def parameters(self) -> dict[str, str]:
        """Return the libpq parameters of the URL, password included: never print them.

        Raises:
            ConfigError: libpq cannot read the URL.

        """
        try:
            parameters = conninfo_to_dict(self.url.reveal())
        except psycopg.ProgrammingError as error:
            raise ConfigError(
                redact(f"libpq cannot read the database URL: {str(error).strip()}"),
                next_step="write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…",
            ) from None
        return {key: str(value) for key, value in parameters.items() if value is not None}

    def environment(self, *, streaming: bool = False) -> dict[str, str | Secret]:
        """Return the PG* variables that make a child process connect here, without argv.

        `streaming`: what it sends or is sent may be held up for long, by a store or by the server.
        """
        names = {
            "host": "PGHOST",
            "hostaddr": "PGHOSTADDR",
            "port": "PGPORT",
            "dbname": "PGDATABASE",
            "user": "PGUSER",
            "password": "PGPASSWORD",
            "sslmode": "PGSSLMODE",
            "sslrootcert": "PGSSLROOTCERT",
            "sslcert": "PGSSLCERT",
            "sslkey": "PGSSLKEY",
            "passfile": "PGPASSFILE",
            "service": "PGSERVICE",
            "options": "PGOPTIONS",
            "channel_binding": "PGCHANNELBINDING",
            "sslcrl": "PGSSLCRL",
            "sslnegotiation": "PGSSLNEGOTIATION",
            "gssencmode": "PGGSSENCMODE",
            "target_session_attrs": "PGTARGETSESSIONATTRS",
        }
        variables: dict[str, str | Secret] = {
            names[key]: Secret(value) if key == "password" else value
            for key, value in self.parameters().items()
            if key in names
        }
        kept = " ".join(
            f"-c {name}={value}"
            for name, value in KEPT_BY_SERVER.items()
            if not (streaming and name == "tcp_user_timeout")
        )
        return variables | {
            "PGCONNECT_TIMEOUT": str(CONNECT_WITHIN),
            "PGOPTIONS": f"{variables.get('PGOPTIONS', '')} {kept}".strip(),
        }

    @contextmanager
    def connect(
        self, step: str, *, autocommit: bool = True, dbname: str | None = None
    ) -> Iterator[psycopg.Connection]:
        """Open a connection named after the deployment and the step; closed at the end.

        Raises:
            Unreachable: nothing answers, or it does not let us in.

        """
        other = {} if dbname is None else {"dbname": dbname}
        within = AGAIN_WITHIN if self.patience.over else CONNECT_WITHIN
        parameters = {"connect_timeout": str(within), **KEEPALIVES, **self.parameters()}
        parameters |= {
            "client_encoding": "UTF8",
            "application_name": f"windlass/{self.deployment_id}/{step}",
            **other,
        }
        spared = dbname is None and step not in UNSPARED
        patient = self.patience.armed and step not in IMPATIENT
        with self._opened(parameters, spared=spared, patient=patient) as connection:
            connection.owners = self.owners
            connection.autocommit = autocommit
            yield connection

    @contextmanager
    def _opened(
        self, parameters: dict[str, str], *, spared: bool, patient: bool
    ) -> Iterator[PinnedConnection]:
        """Connect; what passes by itself is waited out, where the run has patience.

        Where the server is full, `spared` uses get the session that was kept for that.
        """
        outage = self.patience.outage()
        connection: PinnedConnection | None = None
        while connection is None:
            try:
                connection = opening.open_session(parameters)
                self._require_primary(connection)
            except psycopg.OperationalError as error:
                answer = opening.answer(parameters, error) if patient else "accepts"
                why = transient.refused(str(error), answer, error.sqlstate) if patient else ""
                if spared and self.spare is not None and transient.is_full(why):
                    with self.spare.lent(parameters["application_name"]) as lent:
                        if lent is not None:
                            yield lent
                            return
                connection = None
                if not (why and outage.goes_on(why)):
                    raise _unreachable(parameters, error, why, running=patient) from error
        self.patience.answered()
        with connection:
            connection.within = CONNECT_WITHIN
            _pin(connection)
            connection.within = None
            connection.ask = partial(opening.sight_of, parameters, connection)
            yield connection

    def _require_primary(self, connection: PinnedConnection) -> None:
        """Close a standby's session, where the run has had a primary's: it is led there too early.

        One host of several, or a proxy, may still lead to it after a failover.

        Raises:
            opening.Standby: the server is one.

        """
        patience = self.patience
        if not patience.primary:
            patience.primary = not opening.reports_standby(connection)
        elif patience.armed:
            opening.require_primary(connection)

    def sight(self, pid: int) -> Sight:
        """Ask the server, on another line, whether a session of a child runs a statement."""
        return opening.sight(self._question(), pid)

    def seen(self, name: str) -> Seen:
        """Ask the server, on another line, what the sessions of this application_name do."""
        return opening.seen(self._question(), name)

    def _question(self) -> dict[str, str]:
        name = {"application_name": f"windlass/{self.deployment_id}/ask"}
        return {**KEEPALIVES, **self.parameters(), **name}

    @contextmanager
    def keep_session(self) -> Iterator["Database"]:
        """Give the same database with one session that consecutive uses share inside the block."""
        kept = KeptSession(partial(self.connect, KEPT))
        spare = Spare(partial(self.connect, SPARE), _pin)
        try:
            yield replace(self, kept=kept, spare=spare)
        finally:
            kept.close()
            spare.close()

    @contextmanager
    def session(self, step: str) -> Iterator[psycopg.Connection]:
        """Lend the session that is kept; where none is, or it is in use, open one. Autocommit.

        For statements of our own that leave nothing in it: no SET, no session lock. It may turn
        out to be lost at the first statement, and is opened anew for the next use.

        Raises:
            Unreachable: nothing answers, or it does not let us in.

        """
        with ExitStack() as stack:
            connection: psycopg.Connection | None = None
            try:
                if self.kept is not None:
                    connection = stack.enter_context(self.kept.lent())
            except Unreachable:
                if not self.patience.armed:
                    raise
            yield connection if connection is not None else stack.enter_context(self.connect(step))

    def read(
        self, step: str, work: Callable[[psycopg.Connection], T], *, own_session: bool = False
    ) -> T:
        """Run a function in one read-only transaction and return its result.

        Args:
            step: names the session in pg_stat_activity meanwhile.
            work: reads; called a second time where a session that was kept turns out to be lost.
            own_session: for statements that are not ours, and may leave something in the session.

        Raises:
            LockTimeout: a table whose definition is read stayed locked; says by whom.
            Refused: our role may not read it.

        """
        outage = self.patience.outage()
        while True:
            try:
                return self._read_once(step, work, own_session=own_session)
            except psycopg.Error as error:
                why = errors.passing(error)
                if not (why and outage.goes_on(why)):
                    raise

    def repeat(self, step: str, work: Callable[[psycopg.Connection], object]) -> None:
        """Run what means the same when it runs twice, through outages; each statement for itself.

        Once more also without patience: a session that was kept may turn out to be lost.
        """
        outage, tries = self.patience.outage(), 0
        while True:
            try:
                with self.session(step) as connection:
                    work(connection)
            except psycopg.Error as error:
                tries += 1
                why = errors.passing(error)
                if not why or (tries > 1 and not outage.goes_on(why)):
                    raise
            else:
                return

    def _read_once(
        self, step: str, work: Callable[[psycopg.Connection], T], *, own_session: bool
    ) -> T:
        if not own_session:
            with self.session(step) as connection:
                try:
                    return self._read(connection, step, work)
                except psycopg.Error:
                    if not connection.closed:
                        raise
        with self.connect(step) as connection:
            return self._read(connection, step, work)

    def _read(
        self, connection: psycopg.Connection, step: str, work: Callable[[psycopg.Connection], T]
    ) -> T:
        name = sql.Literal(f"windlass/{self.deployment_id}/{step}").as_string()
        try:
            with connection.transaction():
                connection.execute(f"{READ_ONLY}; set local application_name = {name}".encode())
                return work(connection)
        except psycopg.errors.LockNotAvailable as error:
            raise _locked(connection) from error
        except psycopg.InterfaceError as error:  # psycopg's own word, such as of a closed cursor
            if not connection.closed:
                raise
            raise psycopg.OperationalError(f"{transient.LOST}: {error}") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise Refused(
                redact(f"{connection.info.user}: {error.diag.message_primary or error}"),
                next_step="invoke doctor --role names the missing right, with the grant that gives "
                "it: migrate, plan, backup or restore",
            ) from error


def _unreachable(
    parameters: dict[str, str], error: psycopg.OperationalError, why: str, *, running: bool
) -> Unreachable:
    message = " ".join(str(error).split())
    waited = f", also after lock.wait ({why})" if why else ""
    return Unreachable(
        redact(f"the database cannot be reached{waited}: {message}"),
        state=Unchanged(claim="what ran before stands") if running else UNCHANGED,
        next_step=_remedy(parameters, error, message),
    )


def _remedy(parameters: dict[str, str], error: psycopg.OperationalError, message: str) -> str:
    if isinstance(error, opening.Standby):
        return (
            "promote it, or lead the URL to the primary (several hosts: "
            "target_session_attrs=read-write), and start again"
        )
    return remedy(message, error.sqlstate, parameters)


def _locked(connection: psycopg.Connection) -> LockTimeout:
    rows = connection.execute(EXCLUSIVE).fetchall()
    holders = "; ".join(
        f"{relation.removeprefix('public.')} by pid {pid} ({name or 'no application_name'})"
        for pid, name, relation in rows
    )
    return LockTimeout(
        f"a table stayed locked for {READ_WITHIN} s while its definition was read: "
        f"{holders or 'by a session that has gone since'}",
        state=UNCHANGED,
        next_step="wait for that session, or end it (select pg_terminate_backend(PID))",
    )


def is_pooled(connection: psycopg.Connection) -> bool:
    """Tell whether a pooler is between us and the server.

    A pooler gives its clients keys of its own for cancelling, so that the process number which the
    connection began with is not the one that serves it. Source: BackendKeyData in the protocol's
    message flow; seen with PgBouncer in every pool mode.
    """
    row = connection.execute("select pg_catalog.pg_backend_pid()").fetchone()
    return row is None or row[0] != connection.info.backend_pid


def _pin(connection: PinnedConnection) -> None:
    # Asked before anything else: no operator, no name that a search_path could lead astray.
    if is_pooled(connection):
        connection.pooled = True  # from here on in each transaction
        connection.execute(PINNED.encode())
        return
    connection.execute(f"{PINNED}; set search_path = {PATH}; {PINNED_DIRECT}".encode())
    if connection.info.server_version >= 140000:
        with contextlib.suppress(psycopg.errors.InvalidParameterValue):
            connection.execute(CHECK_CLIENT.encode())


def read_target(connection: psycopg.Connection) -> Target:
    """Return which database this is."""
    row = connection.execute(TARGET).fetchone()
    if row is None:
        raise AssertionError("a select without FROM returned no row")
    return Target(system_identifier=str(row[0]), database=row[1], server_version=row[2])
