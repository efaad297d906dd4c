"""Restores of an environment's backups: planned, shown, done and swapped with the live one."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from ..backup import catalog
from ..backup.restore import Restored, RestoreOptions, analyze, restore_backup
from ..backup.swap import kept, rows_now, swap_databases
from ..backup.tables import TableName
from ..database import create
from ..database.connection import Database
from ..errors import ConfigError, Refused, Unreachable, Untrusted
from ..model import Correction, Manifest, Proof, StepName
from ..origin import find_origin
from ..secret import Secret
from . import backups, journal
from .work import Work, bytes_of, store_of

WHO = """
select rolname, rolsuper from pg_catalog.pg_roles where rolname = current_user
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore will do; shown before it does."""

    backup: str
    taken_at: datetime
    database: str  # that will hold the backup in the end
    swap: bool  # whether it takes the live database's place
    changed: tuple[tuple[str, int, int], ...]  # (table, rows then, about how many now)
    last_drill: Proof | None
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder:
    """A restore that can begin: its plan, and what is not shown."""

    plan: RestorePlan
    target: Database | None = None  # an empty database of another server; None: one is created
    tables: frozenset[TableName] = frozenset()  # restore the rows of these alone; empty: of all


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that is done. `kept`: the name that the old live database has now, or empty."""

    restored: Restored
    kept: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapReport:
    """A restored database that serves now, and the name that the one before has now."""

    swap: str
    kept: str


def plan_restore(
    work: Work,
    which: str = "latest",
    *,
    into: str = "",
    tables: tuple[str, ...] = (),
    at_most_older: timedelta | None = None,
) -> RestoreOrder:
    """Return what a restore would do. Reads only.

    Args:
        work: the environment.
        which: a backup's id.
        into: a new database's name, or the URL of an empty one; empty: in place of the live
            database, or, with `tables`, a new one.
        tables: restore the rows of these alone, such as "orders" or "sales.orders".
        at_most_older: refuse an older backup.

    Raises:
        Refused: the backup is older than that.
        ConfigError: there is no such backup, or the URL holds a password.

    """
    manifest = catalog.find_backup(
        store_of(work)[0], environment=work.settings.name, which=which
    ).manifest
    _require_recorded(work, manifest, latest=which == "latest")
    now = datetime.now(UTC)
    if at_most_older is not None:
        catalog.require_young(manifest, at_most=at_most_older, now=now)
    target = _other_server(into) if _is_url(into) else None
    swap = not into and not tables
    new = f"{work.database.name[:40]}_{'tables' if tables else 'restored'}_{now:%Y%m%d_%H%M%S}"
    plan = RestorePlan(
        backup=manifest.id,
        taken_at=manifest.taken_at,
        database=target.name if target else into or new,
        swap=swap,
        changed=_changed(work.database, manifest) if swap else (),
        last_drill=catalog.last_drill(backups.list_backups(work)),
        manifest=manifest,
    )
    return RestoreOrder(plan=plan, target=target, tables=frozenset(map(_table_name, tables)))


def _require_recorded(work: Work, manifest: Manifest, *, latest: bool) -> None:
    """Raise unless the journal knows the manifest as it is, and, for the latest, none newer.

    What the journal does not know is a backup by hand. A live database that does not answer is
    told: a restore elsewhere may be all that is left.
    """
    try:
        known = journal.recorded_backups(work.database)
    except Unreachable as error:
        work.reporter.alarm(f"{manifest.id} is not compared with the journal: {error.what}")
        return
    if known.get(manifest.id, "") not in ("", manifest.sha256):
        raise Untrusted(
            f"the manifest of {manifest.id} is not the one that the journal has: SHA-256 "
            f"{manifest.sha256[:12]}, recorded {known[manifest.id][:12]}",
            state="nothing was restored",
            next_step="find out who changed it; name another: "
            f"invoke backup.list --env {work.settings.name}",
        )
    if not latest:
        return
    stored = {backup.manifest.id for backup in backups.list_backups(work)}
    missing = [name for name in known if name not in stored and name > manifest.id]
    if missing:
        raise Refused(
            f"the newest backup that the journal has, {max(missing)}, is not in the store, or not "
            f"trusted there; the latest would be an older one, {manifest.id}",
            next_step="find out where it is; restore the older one by its name: "
            f"invoke restore --env {work.settings.name} --from {manifest.id}",
        )


def _is_url(into: str) -> bool:
    return "://" in into or "=" in into


def _other_server(into: str) -> Database:
    database = Database(url=Secret(into), deployment_id="restore")
    if "password" in database.parameters():
        raise ConfigError(
            "--into holds a password, which every user of this machine can read in the "
            "process list",
            next_step="leave it out of the URL, and export PGPASSWORD or write a ~/.pgpass",
        )
    return database


def _changed(database: Database, manifest: Manifest) -> tuple[tuple[str, int, int], ...]:
    then = {name.replace('"', ""): rows for name, rows in manifest.row_counts}
    today = rows_now(database)
    names = sorted(name for name in then.keys() | today.keys() if not name.startswith("windlass."))
    rows = ((name, then.get(name, 0), today.get(name, 0)) for name in names)
    return tuple(row for row in rows if row[1] != row[2])


def _table_name(name: str) -> TableName:
    schema, dot, table = name.strip().partition(".")
    return (schema, table) if dot else ("public", schema)


def run_restore(work: Work, order: RestoreOrder, *, owners: bool = True) -> RestoreReport:
    """Restore, verify, and swap where planned.

    Args:
        work: the environment.
        order: by `plan_restore`.
        owners: give every object to its owner; else the user owns all objects.

    Raises:
        StepFailed: it was not restored; what was created for it is dropped again.

    """
    plan, wanted = order.plan, RestoreOptions(owners=owners, tables=order.tables)
    work.reporter.started(StepName.BACKUP)
    if order.target is not None:
        restored = _load(work, plan.manifest, order.target, wanted)
        return RestoreReport(restored=restored, kept="")
    target = create.create_database(work.database, plan.database)
    try:
        restored = _load(work, plan.manifest, target, wanted)
    except BaseException:
        create.drop(work.database, plan.database)  # ours, created just now, and of no use
        raise
    if not plan.swap:
        return RestoreReport(restored=restored, kept="")
    swapped = swap(work, plan.database, what=f"backup {plan.backup}")
    return RestoreReport(restored=restored, kept=swapped.kept)


def _load(work: Work, manifest: Manifest, target: Database, wanted: RestoreOptions) -> Restored:
    store, config = store_of(work)
    _tell_superuser(work, target)
    restored = restore_backup(
        manifest, store, target, config, progress=bytes_of(work.reporter), wanted=wanted
    )
    work.reporter.note("collecting statistics, which no dump holds")
    analyze(target)
    return restored


def _tell_superuser(work: Work, target: Database) -> None:
    """Say so where the restore runs as a superuser: what the database's owner wrote runs as one."""
    name, superuser = target.read("restore", _who)
    if superuser:
        work.reporter.alarm(
            f"the restore runs as {name}, a superuser: what the database's own functions do while "
            "rows are loaded (constraints, generated columns), they do as one; a role that owns "
            "what is restored, and is none, is enough"
        )


def _who(connection: psycopg.Connection) -> tuple[str, bool]:
    row = connection.execute(WHO).fetchone()
    if row is None:
        raise AssertionError("the server does not know its own user")
    return str(row[0]), bool(row[1])


def swap(work: Work, restored: str, *, what: str = "") -> SwapReport:
    """Put a restored database in place of the live one, which is kept aside.

    `what` says for the journal what it holds; empty: its name. The record goes into the restored
    one's journal first, as that is the one that will be read.

    Raises:
        LockHeld: a deployment is running.

    """
    correction = Correction(
        verb="restore",
        migration="database",
        before="the live database",
        after=what or restored,
        reason=f"swapped for {restored}",
        origin=find_origin(work.settings.root),
        at=datetime.now(UTC),
    )
    # The lock is in the live database, whose sessions are ended before it is renamed: no
    # deployment may be running, and from then on the connection limit keeps others out.
    with backups.locked(work):
        journal.record_restore(create.named(work.database, restored), correction)
    return SwapReport(swap=restored, kept=swap_databases(work.database, restored))


def old_databases(database: Database, environment: str) -> tuple[tuple[str, int], ...]:
    """Return the databases that earlier restores put aside, and their bytes.

    Raises:
        Refused: there is none.

    """
    databases = kept(database)
    if not databases:
        raise Refused(
            f"no restore has put a database aside for {database.name}",
            next_step=f"nothing is to be dropped; invoke status --env {environment}",
        )
    return databases


def drop_databases(work: Work, names: tuple[str, ...]) -> None:
    """Drop databases that earlier restores put aside."""
    for name in names:
        create.drop(work.database, name)
        work.reporter.note(f"dropped {name}")
