"""Everything a deployment will need, looked at before anything is touched."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg

from ..backup import catalog, encryption
from ..backup.signed import SignedStore
from ..config import Settings
from ..config.sections import BackupsConfig, EncryptConfig
from ..database import own_tables
from ..database.connection import Database, is_pooled, read_target
from ..errors import Refused, WindlassError
from ..model import Migration, PlannedStep, PreflightCheck, StepName
from ..policy import drill_age, steps_for
from ..postgres.clients import find_clients
from ..rehearsal import existing
from ..rehearsal.rehearse import read_mask
from ..report import deployment
from ..report.backup import drill_note
from ..stores import Store
from . import rehearsals
from .work import Work, store_of

OLDEST = 13  # the oldest major version the PostgreSQL project still maintains in 2025

RIGHTS = """
    select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
           pg_catalog.has_schema_privilege('public', 'CREATE'),
           pg_catalog.pg_is_in_recovery(), current_user
"""


def check_environment(work: Work) -> tuple[PreflightCheck, ...]:
    """Return every check of what a deployment to the environment needs."""
    return preflight_checks(steps_for(work.settings), work)


def preflight_checks(
    steps: tuple[PlannedStep, ...], work: Work, *, migrations: tuple[Migration, ...] | None = None
) -> tuple[PreflightCheck, ...]:
    """Return every check of what these steps need; a failing one does not hide the others.

    `migrations` are those that shall run, in running order; None: all that are not recorded.
    """
    planned = {step.name: step for step in steps}
    database, store = work.database, work.store
    checks = [_guard("migrations", lambda: f"{len(work.engine.files.list())} on disk")]
    reached = _guard("database", lambda: database.read("doctor", _server))
    checks.append(reached)
    if not reached.problem:
        checks.append(_guard("rights", lambda: database.read("doctor", _rights)))
        history = _guard("history", lambda: database.read("doctor", _history(work)))
        checks.append(history)
        if not (history.problem or checks[0].problem):
            checks.append(_guard("pending", partial(_pending, work, migrations)))
    if StepName.BACKUP in planned and store is not None:
        if not reached.problem:
            checks.append(_guard("connection", lambda: database.read("doctor", _direct)))
            tools = _clients(work.settings.shared.backups)
            checks.append(_guard("client tools", lambda: database.read("doctor", tools)))
        checks.append(_guard("backups", partial(store.check, f"{work.settings.name}/")))
        checks += _kept(work.settings, store)
    if StepName.REHEARSAL in planned and not reached.problem:
        checks += _rehearsal(work, required=planned[StepName.REHEARSAL].required)
    if StepName.RESTART in planned and work.restarter is not None:
        checks.append(_guard("service", work.restarter.check))
    if StepName.APPROVAL in planned and work.approvals is not None:
        checks.append(_guard("approval", work.approvals.check))
    return tuple(checks)


def _guard(name: str, check: Callable[[], str]) -> PreflightCheck:
    try:
        return PreflightCheck(name, check())
    except WindlassError as error:
        return PreflightCheck(name, error.what, problem=error.next_step)


def _direct(connection: psycopg.Connection) -> str:
    if is_pooled(connection):
        raise WindlassError(
            "the address is a pooler's: pg_dump needs one session for all of a backup",
            state="nothing was changed",
            next_step="write the address of the server itself into database:",
        )
    return "the server itself, no pooler"


def _server(connection: psycopg.Connection) -> str:
    target = read_target(connection)
    major = target.server_version // 10000
    tls = "TLS" if connection.pgconn.ssl_in_use else "no TLS"
    if major < OLDEST:
        raise WindlassError(
            f"PostgreSQL {major} is older than {OLDEST}",
            state="nothing was changed",
            next_step="upgrade the server",
        )
    pooled = ", through a pooler" if is_pooled(connection) else ""
    return f"PostgreSQL {major}, database {target.database}, {tls}{pooled}"


def _rights(connection: psycopg.Connection) -> str:
    row = connection.execute(RIGHTS).fetchone()
    if row is None:
        raise AssertionError("a select without FROM returned no row")
    database, schema, standby, user = row
    if standby:
        raise WindlassError(
            "the server is a standby, which takes no change",
            state="nothing was changed",
            next_step="point the URL at the primary",
        )
    if not (database and schema):
        what = "the database" if not database else "the schema public"
        raise WindlassError(
            f"{user} may not create in {what}",
            state="nothing was changed",
            next_step=f"grant create on {what.removeprefix('the ')} to {user}",
        )
    return f"{user} may create in the database and in public"


def _history(work: Work) -> Callable[[psycopg.Connection], str]:
    def look(connection: psycopg.Connection) -> str:
        own_tables.require_known(connection)
        return work.engine.history.ready(connection)

    return look


def _pending(work: Work, migrations: tuple[Migration, ...] | None) -> str:
    """Refuse where an object that would be created exists: the migration would fail half way."""
    settings, database, engine = work.settings, work.database, work.engine
    selected = (
        existing.pending_without_record(database, engine) if migrations is None else migrations
    )
    conflicts = tuple(
        conflict
        for conflict in existing.find_untracked(database, engine, selected)
        if conflict.fails
    )
    if conflicts:
        first, *rest = existing.compare_untracked(
            conflicts, database, engine, settings.shared.backups
        )
        more = f" (and {len(rest)} more migrations)" if rest else ""
        raise Refused(
            deployment.unrecorded_text(first) + more,
            next_step=deployment.unrecorded_next(settings.name, first),
        )
    return f"{len(selected)}, no existing object blocks them"


def _clients(config: BackupsConfig | None) -> Callable[[psycopg.Connection], str]:
    image = config.image if config else ""

    def look(connection: psycopg.Connection) -> str:
        version = read_target(connection).server_version
        clients = find_clients(version, tls=connection.pgconn.ssl_in_use, image=image)
        where = f" in {clients.image}" if clients.image else ""
        return f"pg_dump {clients.version}{where}, {clients.compression}"

    return look


def _rehearsal(work: Work, *, required: bool) -> list[PreflightCheck]:
    """Look for a server for the copy, and at the mask; say where the rehearsal may be skipped."""

    checks = [_guard("rehearsal", lambda: _copy(work, required=required))]
    if work.settings.shared.rehearsal.mask:
        checks.append(_guard("mask", lambda: _mask(work.settings)))
    return checks


def _copy(work: Work, *, required: bool) -> str:
    """Say what a copy would run on."""
    _, config = store_of(work)
    if config.throwaway is not None:
        server = Database(url=config.throwaway).read("doctor", read_target)
        return f"on the throwaway server, PostgreSQL {server.server_version // 10000}"
    reason = rehearsals.missing_reason(work)
    if reason and required:
        raise WindlassError(
            f"required, but not possible: {reason}",
            state="nothing was changed",
            next_step="write throwaway: URL under backups, of a server of the same major version "
            "with the same extensions; or install one here",
        )
    return f"would be skipped: {reason}" if reason else "on a server that is installed here"


def _mask(settings: Settings) -> str:
    read_mask(settings.shared.rehearsal, settings.root)
    return settings.shared.rehearsal.mask


def _kept(settings: Settings, store: Store) -> list[PreflightCheck]:
    """Look at the keys of signed and encrypted backups; warn of a drill that is too long ago."""
    config, checks = settings.shared.backups, []
    if isinstance(store, SignedStore):
        checks.append(_guard("signing", store.seal.check))
    if config is not None and config.encrypt is not None:
        keys = config.encrypt
        checks.append(_guard("encryption", lambda: _encryption(keys)))
    at_most = drill_age(settings)
    if at_most is not None:
        checks.append(_guard("drill", lambda: _drill(settings.name, store, at_most)))
    return checks


def _encryption(keys: EncryptConfig) -> str:
    encryption.require_usable(keys.recipients, keys.identity)
    private = "a private key to prove them with" if keys.identity else "no private key here"
    return f"for {len(keys.recipients)} recipients, {private}"


def _drill(environment: str, store: Store, at_most: timedelta) -> str:
    """Return when the last drill was; one that is overdue is a warning, and ends nothing."""
    last = catalog.last_drill(catalog.backups(store, environment=environment))
    note = drill_note(last, at_most=at_most, now=datetime.now(UTC))
    if note or last is None:
        return note
    return f"{last.at:%Y-%m-%d}, {last.rows:,} rows in {last.seconds:.0f} s"
