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
from ..database.errors import one_value
from ..errors import UNCHANGED, Refused, WindlassError
from ..model import Migration, PlannedStep, PreflightCheck, StepName
from ..plan import leftovers
from ..plan.leftovers import Act
from ..plan.rights import Job, MissingRight
from ..policy import drill_age, steps_for
from ..postgres import throwaway
from ..postgres.clients import find_clients
from ..rehearsal import existing
from ..rehearsal.rehearse import read_mask
from ..report import deployment
from ..report.backup import drill_note
from ..restarters import Looking
from ..stores import Store
from . import backfills, identity, rehearsals, rights, sweep
from .work import Work, store_of

OLDEST = 13  # the oldest major version the PostgreSQL project still maintains in 2025

STANDBY = "select pg_catalog.pg_is_in_recovery()"


def check_environment(work: Work, job: Job = "migrate") -> tuple[PreflightCheck, ...]:
    """Return every check of what a deployment to the environment needs, or another job there.

    `job`: migrate is a deployment; plan, backup and restore are what roles with less do.
    """
    if job == "migrate":
        return (*preflight_checks(steps_for(work.settings), work), *_left(work))
    database, store = work.database, work.store
    checks = [_guard("database", lambda: database.read("doctor", _server))]
    if not checks[0].problem:
        checks += [_missing(missing) for missing in database.read("doctor", _lacking(work, job))]
        if len(checks) == 1:
            checks.append(PreflightCheck("rights", f"all that {job} needs"))
        if job == "plan":
            checks.append(_guard("history", lambda: database.read("doctor", _history(work))))
        elif store is not None:
            checks.append(_guard("connection", lambda: database.read("doctor", _direct)))
            tools = _clients(work.settings.shared.backups)
            checks.append(_guard("client tools", lambda: database.read("doctor", tools)))
    if job != "plan" and store is not None:
        checks.append(_guard("backups", store.check))
        checks += _kept(work.settings, store)
    return tuple(checks)


def _left(work: Work) -> list[PreflightCheck]:
    """Return what killed runs left; what a person must settle is a problem, the rest is told."""
    try:
        left = sweep.left_behind(work, thorough=True)
    except (WindlassError, psycopg.Error):
        return []  # the check of the database says why it does not answer
    return [
        PreflightCheck(
            "left behind",
            leftover.what
            if leftover.act is Act.TELL
            else leftovers.text(leftover, work.settings.name),
            problem=leftover.command if leftover.act is Act.TELL else "",
        )
        for leftover in left
    ]


def _missing(missing: MissingRight) -> PreflightCheck:
    return PreflightCheck("rights", f"missing: {missing.right}", problem=missing.remedy)


def _lacking(work: Work, job: Job) -> Callable[[psycopg.Connection], tuple[MissingRight, ...]]:
    """Return a function that reads what our role lacks for a job, a restore's swap included."""

    def look(connection: psycopg.Connection) -> tuple[MissingRight, ...]:
        lacks = rights.lacking(connection, work, job)
        return (*lacks, *rights.signal_lacking(connection)) if job == "restore" else lacks

    return look


def preflight_checks(
    steps: tuple[PlannedStep, ...],
    work: Work,
    *,
    migrations: tuple[Migration, ...] | None = None,
    gated: bool = False,
) -> tuple[PreflightCheck, ...]:
    """Return every check of what these steps need; a failing one does not hide the others.

    `migrations` are those that shall run, in running order; None: all that are not recorded.
    `gated`: nobody has approved the project's own programs yet, and none is run.
    """
    planned = {step.name: step for step in steps}
    database, store = work.database, work.store
    checks = [_guard("migrations", lambda: f"{len(work.engine.files.list())} on disk")]
    reached = _guard("database", lambda: database.read("doctor", _server))
    checks.append(reached)
    if not reached.problem:
        checks += _rights(work)
        checks.append(_guard("identity", lambda: _identity(work)))
        history = _guard("history", lambda: database.read("doctor", _history(work)))
        checks.append(history)
        if not (history.problem or checks[0].problem):
            checks.append(_guard("pending", partial(_pending, work, migrations)))
            checks.append(_guard("backfills", partial(backfills.check, work, migrations or ())))
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
        service = work.restarter
        look = service.look if gated and isinstance(service, Looking) else service.check
        checks.append(_guard("service", look))
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
            state=UNCHANGED,
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
            state=UNCHANGED,
            next_step="upgrade the server",
        )
    pooled = ", through a pooler" if is_pooled(connection) else ""
    return f"PostgreSQL {major}, database {target.database}, {tls}{pooled}"


def _rights(work: Work) -> list[PreflightCheck]:
    """Look at a standby first, which takes no change; then name every right that is missing."""
    standby = _guard("rights", lambda: work.database.read("doctor", _primary))
    if standby.problem:
        return [standby]
    lacks = work.database.read("doctor", _lacking(work, "migrate"))
    return [_missing(missing) for missing in lacks] or [standby]


def _primary(connection: psycopg.Connection) -> str:
    if one_value(connection, STANDBY):
        raise WindlassError(
            "the server is a standby, which takes no change",
            state=UNCHANGED,
            next_step="point the URL at the primary",
        )
    return "all that a deployment needs"


def _identity(work: Work) -> str:
    """Return what the database says it is; Refused where that is not the environment."""
    identity.require(work)
    known = identity.report(work).known
    return str(known) if known else "not recorded: the first deployment above development does it"


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
            state=UNCHANGED,
            next_step="write throwaway: URL under backups, of a server of the same major version "
            "with the same extensions; or install one here",
        )
    if reason:
        return f"would be skipped: {reason}"
    version = work.database.read("doctor", read_target).server_version
    where = throwaway.sandbox_words(version, config.sandbox)
    return f"on a server that is installed here, {where}"


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
    given = keys.identity is not None and keys.identity.reveal().strip()
    private = "a private key to prove them with" if given else "no private key here"
    return f"for {len(keys.recipients)} recipients, {private}"


def _drill(environment: str, store: Store, at_most: timedelta) -> str:
    """Return when the last drill was; one that is overdue is a warning, and ends nothing."""
    last = catalog.last_drill(catalog.backups(store, environment=environment))
    note = drill_note(last, at_most=at_most, now=datetime.now(UTC))
    if note or last is None:
        return note
    return f"{last.at:%Y-%m-%d}, {last.rows:,} rows in {last.seconds:.0f} s"
