"""Connections to the target, as every step wants them, and what can be read from it."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn, Ping

from ..errors import UNCHANGED, ConfigError, LockTimeout, Refused, Unreachable
from ..model import Target
from ..secret import Secret, redact, remember
from . import transient
from .kept import KeptSession
from .patience import Patience
from .pinned import OPTION, PATH, PinnedConnection
from .silence import Sight
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
# The same at the server's end. On a Unix socket, and where its system has no such option, the
# server takes the settings and does nothing.
KEPT_BY_SERVER = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{GONE_AFTER}000",
}
CONNECT_WITHIN = 10  # seconds, per address
LOOK_ON = ("watch", "lease", "trace")  # they wait for nothing: their run would wait for them
UNSPARED = (*LOOK_ON, "lock")  # they hold a session for long
ASKED_WITHIN = 5.0  # seconds, for a question about a session that is silent
UNSUPPORTED = "unsupported startup parameter"  # PgBouncer, of what it does not know
READ_WITHIN = 5  # seconds for a table that somebody has locked against readers
STATE = """
    select a.state from pg_catalog.pg_stat_activity a where a.pid operator(pg_catalog.=) %s
"""
BUSY = ("active", "fastpath function call")
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

    def environment(self) -> dict[str, str | Secret]:
        """Return the PG* variables that make a child process connect here, without argv."""
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
        kept = " ".join(f"-c {name}={value}" for name, value in KEPT_BY_SERVER.items())
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
        parameters = {"connect_timeout": str(CONNECT_WITHIN), **KEEPALIVES, **self.parameters()}
        parameters |= {
            "client_encoding": "UTF8",
            "application_name": f"windlass/{self.deployment_id}/{step}",
            **other,
        }
        spared = dbname is None and step not in UNSPARED
        patient = self.patience.armed and step not in LOOK_ON
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
                connection = _open(parameters)
            except psycopg.OperationalError as error:
                answer = _answer(parameters) if patient else "accepts"
                why = transient.refused(str(error), answer) if patient else ""
                if spared and self.spare is not None and transient.is_full(why):
                    with self.spare.lent(parameters["application_name"]) as lent:
                        if lent is not None:
                            yield lent
                            return
                if not (why and outage.goes_on(why)):
                    raise _unreachable(parameters, error, why, running=patient) from error
        with connection:
            connection.within = CONNECT_WITHIN
            _pin(connection)
            connection.within = None
            connection.ask = partial(_sight, parameters, connection)
            yield connection

    @contextmanager
    def keep_session(self) -> Iterator["Database"]:
        """Give the same database with one session that consecutive uses share inside the block."""
        impatient = replace(self, patience=Patience())
        kept = KeptSession(partial(impatient.connect, "session"))
        spare = Spare(partial(impatient.connect, "spare"), _pin)
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
            except psycopg.OperationalError as error:
                why = transient.reason(error.sqlstate, broken=error.sqlstate is None)
                if not (why and outage.goes_on(why)):
                    raise

    def _read_once(
        self, step: str, work: Callable[[psycopg.Connection], T], *, own_session: bool
    ) -> T:
        if not own_session:
            with self.session(step) as connection:
                try:
                    return self._read(connection, step, work)
                except psycopg.OperationalError:
                    if not connection.broken:
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
        state="what ran before stands; the journal has it" if running else UNCHANGED,
        next_step=_let_in(parameters)
        if "CONNECT" in message  # the privilege: in every language of the server's
        else "check the URL's host, port, user and password, and that it is up",
    )


def _answer(parameters: dict[str, str]) -> transient.Answer:
    """Ask what a new connection is answered with; no password is needed for that."""
    answer = PGconn.ping(make_conninfo(**parameters).encode())
    if answer == Ping.REJECT:
        return "rejects"
    return "none" if answer == Ping.NO_RESPONSE else "accepts"


def _let_in(parameters: dict[str, str]) -> str:
    """Return the grant that lets our role into the database."""
    database, user = (
        '"' + parameters.get(key, "").replace('"', '""') + '"' for key in ("dbname", "user")
    )
    return f"grant connect on database {database} to {user}"


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


def _sight(parameters: dict[str, str], silent: PinnedConnection) -> Sight:
    """Ask the server, on another line, what it sees of a session that does not answer."""
    question = parameters | {
        "connect_timeout": f"{ASKED_WITHIN:.0f}",
        "application_name": f"{parameters['application_name'].rsplit('/', 1)[0]}/ask",
    }
    try:
        with closing(_open(question)) as connection:
            connection.within = ASKED_WITHIN
            if silent.pooled:  # whose number the pooler keeps from us: that it answers is all
                return "runs"
            row = connection.execute(STATE, (silent.info.backend_pid,)).fetchone()
    except psycopg.OperationalError:
        return "silent" if _answer(question) == "none" else "runs"
    # What our role may not see of it counts as work.
    return "runs" if row is not None and (row[0] is None or row[0] in BUSY) else "ended"


def _open(parameters: dict[str, str]) -> PinnedConnection:
    """Connect with the search_path in the start packet; without it, where a pooler refuses it."""
    options = f"{parameters.get('options', '')} {OPTION}".strip()
    try:
        return _connect(parameters | {"options": options})
    except psycopg.OperationalError as error:
        if UNSUPPORTED not in str(error):
            raise
    return _connect(parameters)


def _connect(parameters: dict[str, str]) -> PinnedConnection:
    return PinnedConnection.connect(
        make_conninfo(**parameters), autocommit=True, prepare_threshold=None
    )


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
