"""Restores of an environment's backups: planned, shown, done and swapped with the live one."""

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import LiteralString, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from ..backup import catalog, names
from ..backup.restore import Restored, RestoreOptions, analyze, restore_backup
from ..backup.swap import rows_now
from ..backup.tables import TableName
from ..config.address import Address
from ..config.duration import Duration
from ..database import own_tables
from ..database.connection import Database, read_target
from ..database.markers import Marker
from ..errors import ConfigError, Refused, Unreachable, Untrusted, WindlassError
from ..model import Facts, Manifest, Plan, Proof, StepName, Target
from ..plan.elsewhere import find_address
from ..postgres import throwaway
from ..report.backup import restore_text
from ..secret import Secret
from . import backups, identity, journal, orders, outlast, restoring, rights, swaps
from .facts import replaced_facts
from .observed import told
from .orders import Permit, Proposal, Request
from .work import Work, bytes_of, store_of

T = TypeVar("T")
WHO = """
select rolname, rolsuper from pg_catalog.pg_roles where rolname = current_user
"""
SUPERUSERS: LiteralString = """
select rolname::text from pg_catalog.pg_roles where rolsuper and rolname in (/*OWNERS*/)
""".replace("/*OWNERS*/", throwaway.OWNERS.replace("order by 1", ""))


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
    given: bool = False  # whether a person chose the database's name


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that is done. `kept`: the name that the old live database has now, or empty."""

    restored: Restored
    kept: str


def propose_restore(work: Work, request: Request) -> Proposal[RestoreOrder]:
    """Propose a restore. Reads only.

    The request's arguments: `from` is a backup's id; `into` a new database's name, or the URL of
    an empty one, else it is restored in place of the live one or, with `tables`, into a new one;
    `tables` are those whose rows alone are restored, such as "orders,sales.orders"; `at-most-older`
    refuses an older backup; `no-owner` makes everything this user's; `leaves` names what a swap may
    leave to the database that is put aside.

    Raises:
        Refused: the backup is older than that, the server is none that deploy.yml names, or the
            live database is another environment's.
        ConfigError: there is no such backup, or the URL holds a password.
        PlanChanged: the plan that was made before is not what would be done.

    """
    which, arguments = request.get("from") or "latest", dict(request.arguments)
    limit = request.get("at-most-older")
    if limit:
        try:
            arguments["at-most-older"] = repr(Duration.parse(limit))
        except ValueError as error:
            raise ConfigError(
                f"--at-most-older: {error}", next_step="--at-most-older 24h"
            ) from None

    def again(which: str) -> tuple[Plan, RestoreOrder]:
        order = _order(work, request, which)
        made = order.plan.manifest
        plan = orders.order_plan(
            work,
            request,
            _facts(work, made, order),
            _changes(work, request, order),
            arguments=arguments | {"from": made.id},
        )
        return plan, order

    first = again(which)
    order = first[1]
    proposal = orders.propose(request, partial(again, order.plan.backup), first=first)
    return replace(proposal, notes=tuple(restore_text(order.plan).splitlines()[1:]))


def _order(work: Work, request: Request, which: str) -> RestoreOrder:
    into, tables = request.get("into"), orders.names_in(request.get("tables"))
    target = _other_server(work, into) if _is_url(into) else None  # before anything is read
    if target is None:  # beside the live database, or in its place; else that need not be there
        identity.require(work)
    manifest = catalog.find_backup(
        store_of(work)[0], environment=work.settings.name, which=which
    ).manifest
    _require_recorded(work, manifest, latest=which == "latest")
    now = datetime.now(UTC)
    if limit := request.get("at-most-older"):
        at_most = timedelta(seconds=Duration.parse(limit).seconds)
        catalog.require_young(manifest, at_most=at_most, now=now)
    swap = not into and not tables
    new = names.new_name(work.database.name, "tables" if tables else "restored", now)
    plan = RestorePlan(
        backup=manifest.id,
        taken_at=manifest.taken_at,
        database=target.name if target else into or new,
        swap=swap,
        changed=_changed(work.database, manifest) if swap else (),
        last_drill=catalog.last_drill(backups.list_backups(work)),
        manifest=manifest,
    )
    return RestoreOrder(
        plan=plan, target=target, tables=frozenset(map(_table_name, tables)), given=bool(into)
    )


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


def _facts(work: Work, manifest: Manifest, order: RestoreOrder) -> Facts:
    """Return which database it is of; what it has applied, where it is replaced."""
    if order.target is not None:  # the environment's own server may be gone
        return Facts(
            target=Target(
                system_identifier=manifest.system_identifier,
                database=manifest.database,
                server_version=manifest.server_version,
            ),
            history=(),
            schema_fingerprint="",
        )
    if order.plan.swap:
        return replaced_facts(work)
    target = work.database.read("restore", read_target)
    return Facts(target=target, history=(), schema_fingerprint="")


def _changes(work: Work, request: Request, order: RestoreOrder) -> tuple[str, ...]:
    """Return what a restore does, for its plan: of one backup, and of no other with its id."""
    manifest, into, target = order.plan.manifest, request.get("into"), order.target
    lines = [
        f"restore backup {manifest.id}, taken {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"manifest sha256:{manifest.sha256}"
    ]
    if order.plan.swap:
        lines.append(f"put it in the place of the live database {work.database.name}")
        lines += swaps.left_behind(work, request)
    elif target is not None:
        lines.append(f"load it into the database {target.name} of {_address_of(work, target)}")
    else:
        lines.append(f"load it into the new database {into}" if into else "into a new database")
    if order.tables:
        names = sorted(".".join(name) for name in order.tables)
        lines.append(f"restore the rows of {', '.join(names)} alone")
    if request.has("no-owner"):
        lines.append("make every object this user's; grants come to the roles that exist")
    if request.has("as-superuser"):
        lines.append("let the archive's SQL run as this user, also where that is a superuser")
    return tuple(lines)


def _is_url(into: str) -> bool:
    return "://" in into or "=" in into


def _address_of(work: Work, target: Database) -> Address:
    environment = work.settings.environment
    return find_address(
        target.parameters(),
        named=environment.restore_to,
        own=work.database.parameters(),
        variables=os.environ,
    )


def _other_server(work: Work, into: str) -> Database:
    database = Database(url=Secret(into), deployment_id=work.deployment_id)
    if "password" in database.parameters():
        raise ConfigError(
            "--into holds a password, which every user of this machine can read in the "
            "process list",
            next_step="leave it out of the URL, and export PGPASSWORD or write a ~/.pgpass",
        )
    address = _address_of(work, database)
    # Written out: the variables PGHOST and PGPORT of libpq do not decide any more.
    url = make_conninfo(into, host=address.host, port=address.port)
    return Database(url=Secret(url), deployment_id=work.deployment_id)


def _changed(database: Database, manifest: Manifest) -> tuple[tuple[str, int, int], ...]:
    then = {name.replace('"', ""): rows for name, rows in manifest.row_counts}
    today = rows_now(database)
    names = sorted(name for name in then.keys() | today.keys() if not name.startswith("windlass."))
    rows = ((name, then.get(name, 0), today.get(name, 0)) for name in names)
    return tuple(row for row in rows if row[1] != row[2])


def _table_name(name: str) -> TableName:
    schema, dot, table = name.strip().partition(".")
    return (schema, table) if dot else ("public", schema)


@told
def run_restore(work: Work, proposal: Proposal[RestoreOrder]) -> RestoreReport:
    """Restore, verify, and swap where planned.

    One that takes the live database's place holds the deployment lock from the beginning: what
    another deployment did meanwhile would be lost.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: what would be restored is not what was planned.
        Refused: our role lacks a right, or may not end the sessions that a swap has to end.
        StepFailed: it was not restored; what was created for it is dropped again.

    """
    given = proposal.plan.correction.arguments if proposal.plan.correction is not None else ()
    owners, superuser = "no-owner" not in dict(given), "as-superuser" in dict(given)
    if proposal.found.target is None:
        _require_rights(work, *((work.database.name,) if proposal.found.plan.swap else ()))
    work.reporter.started(StepName.BACKUP)
    if not proposal.found.plan.swap:
        with ExitStack() as unit:
            order = _begin_beside(work, proposal, unit)
            restored = _restore_beside(work, order, owners=owners, superuser=superuser)
        return RestoreReport(restored=restored, kept="")
    with orders.permitted(work, proposal) as permit:
        return _restore_in_place(work, permit, owners=owners, superuser=superuser)


def _restore_in_place(
    work: Work, permit: Permit[RestoreOrder], *, owners: bool, superuser: bool
) -> RestoreReport:
    """Load the backup, and swap while the lock is held: its own session is the last that ends."""
    order = permit.found
    plan = order.plan
    wanted = RestoreOptions(
        owners=owners, tables=order.tables, as_superuser=superuser, trusted=_trusted(work)
    )
    own_tables.prepare(work.database, work.terms())

    def once() -> tuple[Restored, restoring.Filling, swaps.Kept]:
        with restoring.filled(work, plan.database, backup=plan.backup, given=False) as filling:
            restored = _load(work, plan.manifest, filling.database, wanted)
            permit.held.require()
            detail = {
                "backup": plan.backup,
                "tables": str(restored.tables),
                "rows": str(restored.rows),
                "seconds": str(restored.seconds),
            }
            kept = swaps.record(
                work, permit, plan.database, what=f"backup {plan.backup}", detail=detail
            )
            return restored, filling, kept

    guarded = replace(work, guard=permit.held.require)
    restored, filling, kept = outlast.read_again(guarded, once)
    try:
        swaps.swap_recorded(work, plan.database, kept)
    except WindlassError as error:
        try:
            filling.keep_for_a_swap(plan.backup)
        except (WindlassError, psycopg.Error) as second:
            error.add_note(f"{plan.database} is dropped by the next task: {second}")
        raise
    return RestoreReport(restored=restored, kept=kept.name)


def report_of(marker: Marker) -> RestoreReport:
    """Return the report of a restore that a killed run had done."""
    restored = Restored(
        database=marker.get("restored"),
        seconds=float(marker.get("seconds") or 0),
        tables=int(marker.get("tables") or 0),
        rows=int(marker.get("rows") or 0),
    )
    return RestoreReport(restored=restored, kept=marker.get("kept"))


def _require_rights(work: Work, *swapped: str) -> None:
    """Raise before the load, which may take hours: a swap would wait for such sessions in vain."""
    rights.require(work.database, work, "restore")
    if swapped:
        work.database.read("restore", lambda c: rights.require_swap(c, *swapped))


def _begin_beside(work: Work, proposal: Proposal[RestoreOrder], unit: ExitStack) -> RestoreOrder:
    """Return the order of a restore that leaves the live database as it is, permitted, recorded.

    It is not done before `unit` ends well.

    A copy of the data that leaves its server is recorded before it begins. Where that server is
    gone and no approval is asked for, an alarm takes the record's place.
    """
    target = proposal.found.target
    guarded = proposal.plan.has(StepName.APPROVAL)
    if not guarded and target is None:
        return proposal.found  # a look at a backup needs no lock
    try:
        with orders.permitted(work, proposal, beside=unit) as permit:
            order = permit.found
            where = order.plan.database
            where += f" of {_address_of(work, target)}" if target is not None else ""
            record = permit.correction(
                of="database",
                before="not there",
                after=f"backup {order.plan.backup} in {where}",
                reason="a restore beside the live database began",
            )
            orders.record(work, permit, record)
            return order
    except Unreachable as error:
        if guarded or target is None:
            raise
        work.reporter.alarm(f"not recorded in the environment's journal: {error.what}")
        return proposal.found


def _restore_beside(work: Work, order: RestoreOrder, *, owners: bool, superuser: bool) -> Restored:
    plan = order.plan
    wanted = RestoreOptions(
        owners=owners,
        tables=order.tables,
        as_superuser=superuser,
        trusted=_trusted(work) if order.target is None else frozenset(),
    )
    if order.target is not None:
        load = partial(_load, work, plan.manifest, order.target, wanted)
        with restoring.live_told(work):
            restored = restoring.loaded_elsewhere(work, order.target, load)
            clear = partial(identity.clear_copy, work, order.target, backup=plan.backup)
            outlast.read_again(replace(work, database=order.target), clear)
        return restored

    def once() -> Restored:
        with restoring.filled(
            work, plan.database, backup=plan.backup, given=order.given
        ) as filling:
            restored = _load(work, plan.manifest, filling.database, wanted)
            identity.clear_copy(work, filling.database, backup=plan.backup)
            filling.keep()
        return restored

    work.database.patience.armed = True
    return outlast.read_again(work, once)


def _load(work: Work, manifest: Manifest, target: Database, wanted: RestoreOptions) -> Restored:
    store, config = store_of(work)
    restored = restore_backup(
        manifest, store, target, config, progress=bytes_of(work.reporter), wanted=wanted
    )
    _tell_superuser(work, target, restored)
    if not restored.analyzed:
        work.reporter.note("collecting statistics, which no dump holds")
        analyze(target)
    return restored


def _trusted(work: Work) -> frozenset[str]:
    """Return the superusers that own something in the live database: a restore gives it back."""
    try:
        rows = work.database.read("restore", lambda c: c.execute(SUPERUSERS).fetchall())
    except Unreachable:
        return frozenset()
    return frozenset(str(name) for (name,) in rows)


def _tell_superuser(work: Work, target: Database, restored: Restored) -> None:
    """Say so where what the database's owner wrote ran, or will run, as a superuser."""
    name, superuser = target.read("restore", _who)
    if superuser and not restored.loaded_as:
        work.reporter.alarm(
            f"the restore ran as {name}, a superuser: what the database's own functions do while "
            "rows are loaded (constraints, generated columns), they did as one; a database whose "
            "owner is none is loaded by a role without rights"
        )
    if restored.given:
        work.reporter.alarm(
            f"what is restored belongs in part to superusers: {', '.join(restored.given)}; what "
            "its functions do, they do as one"
        )


def _who(connection: psycopg.Connection) -> tuple[str, bool]:
    row = connection.execute(WHO).fetchone()
    if row is None:
        raise AssertionError("the server does not know its own user")
    return str(row[0]), bool(row[1])
