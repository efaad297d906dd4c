"""Restores of an environment's backups: planned, shown, done and swapped with the live one."""

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from ..backup import catalog
from ..backup.restore import Restored, RestoreOptions, analyze, restore_backup
from ..backup.swap import kept, rows_now, swap_databases
from ..backup.tables import TableName
from ..config.address import Address
from ..config.duration import Duration
from ..database import create
from ..database.connection import Database, read_target
from ..errors import ConfigError, Refused, Unreachable, Untrusted, WindlassError
from ..model import Applied, Facts, Manifest, Plan, Proof, StepName, Target
from ..plan.elsewhere import find_address
from ..report.backup import restore_text
from ..secret import Secret
from . import backups, identity, journal, mirror, orders, rights
from .facts import take_facts
from .orders import Permit, Proposal, Request
from .work import Work, bytes_of, store_of

T = TypeVar("T")
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


def propose_restore(work: Work, request: Request) -> Proposal[RestoreOrder]:
    """Propose a restore. Reads only.

    The request's arguments: `from` is a backup's id; `into` a new database's name, or the URL of
    an empty one, else it is restored in place of the live one or, with `tables`, into a new one;
    `tables` are those whose rows alone are restored, such as "orders,sales.orders"; `at-most-older`
    refuses an older backup; `no-owner` makes everything this user's.

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
        return _replaced(work)
    target = work.database.read("restore", read_target)
    return Facts(target=target, history=(), schema_fingerprint="")


def _replaced(work: Work) -> Facts:
    """Return the live database that is replaced, and what it has applied, where that is readable.

    A history that cannot be read may be why it is replaced.
    """
    target = work.database.read("restore", read_target)
    history: tuple[Applied, ...] = ()
    try:
        history = work.database.read("restore", work.engine.history.rows)
    except (WindlassError, psycopg.Error) as error:
        work.reporter.note(f"the history of the live database cannot be read: {error}")
    return Facts(target=target, history=history, schema_fingerprint="")


def _changes(work: Work, request: Request, order: RestoreOrder) -> tuple[str, ...]:
    """Return what a restore does, for its plan: of one backup, and of no other with its id."""
    manifest, into, target = order.plan.manifest, request.get("into"), order.target
    lines = [
        f"restore backup {manifest.id}, taken {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"manifest sha256:{manifest.sha256}"
    ]
    if order.plan.swap:
        lines.append(f"put it in the place of the live database {work.database.name}")
    elif target is not None:
        lines.append(f"load it into the database {target.name} of {_address_of(work, target)}")
    else:
        lines.append(f"load it into the new database {into}" if into else "into a new database")
    if order.tables:
        names = sorted(".".join(name) for name in order.tables)
        lines.append(f"restore the rows of {', '.join(names)} alone")
    if request.has("no-owner"):
        lines.append("make every object this user's, without grants")
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
    owners = "no-owner" not in dict(given)
    if proposal.found.target is None:
        _require_rights(work, *((work.database.name,) if proposal.found.plan.swap else ()))
    work.reporter.started(StepName.BACKUP)
    if not proposal.found.plan.swap:
        order = _begin_beside(work, proposal)
        return RestoreReport(restored=_restore_beside(work, order, owners=owners), kept="")
    with orders.permitted(work, proposal) as permit:
        order = permit.found
        restored = _restore_beside(work, order, owners=owners)
        permit.held.require()
        _record_inside(work, permit, order.plan.database, what=f"backup {order.plan.backup}")
    aside = swap_databases(work.database, restored.database)
    mirror.send(work)
    return RestoreReport(restored=restored, kept=aside)


def _require_rights(work: Work, *swapped: str) -> None:
    """Raise before the load, which may take hours: a swap would wait for such sessions in vain."""
    rights.require(work.database, work, "restore")
    if swapped:
        work.database.read("restore", lambda c: rights.require_swap(c, *swapped))


def _begin_beside(work: Work, proposal: Proposal[RestoreOrder]) -> RestoreOrder:
    """Return the order of a restore that leaves the live database as it is, permitted, recorded.

    A copy of the data that leaves its server is recorded before it begins. Where that server is
    gone and no approval is asked for, an alarm takes the record's place.
    """
    target = proposal.found.target
    guarded = proposal.plan.has(StepName.APPROVAL)
    if not guarded and target is None:
        return proposal.found  # a look at a backup needs no lock
    try:
        with orders.permitted(work, proposal) as permit:
            order = permit.found
            where = order.plan.database
            where += f" of {_address_of(work, target)}" if target is not None else ""
            record = permit.correction(
                of="database",
                before="not there",
                after=f"backup {order.plan.backup} in {where}",
                reason="a restore beside the live database began",
            )
            orders.record(work, record)
            return order
    except Unreachable as error:
        if guarded or target is None:
            raise
        work.reporter.alarm(f"not recorded in the environment's journal: {error.what}")
        return proposal.found


def _restore_beside(work: Work, order: RestoreOrder, *, owners: bool) -> Restored:
    plan, wanted = order.plan, RestoreOptions(owners=owners, tables=order.tables)
    if order.target is not None:
        restored = _load(work, plan.manifest, order.target, wanted)
        identity.clear_copy(work, order.target, backup=plan.backup)
        return restored
    target = create.create_database(work.database, plan.database)
    try:
        restored = _load(work, plan.manifest, target, wanted)
        if not plan.swap:
            identity.clear_copy(work, target, backup=plan.backup)
    except BaseException:
        create.drop(work.database, plan.database)  # ours, created just now, and of no use
        raise
    return restored


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


def propose_swap(work: Work, request: Request) -> Proposal[str]:
    """Propose to put the restored database `swap` in place of the live one. Reads only.

    Raises:
        Unreachable: there is no such database.

    """
    restored = request.get("swap")

    def again() -> tuple[Plan, str]:
        target = create.named(work.database, restored)
        identity.require(work)
        identity.require_own_or_none(work, target)
        facts = take_facts(target, work.engine.history)
        name, oid = work.database.name, create.oids(work.database, (restored,))[0]
        lines = (
            f"put the database {restored}, oid {oid}, of {len(facts.history)} applied migrations "
            f"and schema {facts.schema_fingerprint[:16]}, in the place of {name}, which is kept "
            "aside",
        )
        plan = orders.order_plan(work, request, _replaced(work), lines, arguments=request.arguments)
        return plan, restored

    return orders.propose(request, again)


def swap(work: Work, proposal: Proposal[str]) -> SwapReport:
    """Put a restored database in place of the live one, which is kept aside.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        LockHeld: a deployment is running.
        Refused: one of the two is another environment's, or our role may not end the sessions
            that a swap has to end.

    """
    _require_rights(work, work.database.name, proposal.found)
    # The lock is in the live database, whose sessions are ended before it is renamed: no
    # deployment may be running, and from then on the connection limit keeps others out.
    with orders.permitted(work, proposal) as permit:
        restored = permit.found
        _record_inside(work, permit, restored, what=restored)
    aside = swap_databases(work.database, restored)
    mirror.send(work)
    return SwapReport(swap=restored, kept=aside)


def _record_inside(work: Work, permit: Permit[T], restored: str, *, what: str) -> None:
    """Record a swap in the database that takes the live one's place: its journal will be read."""
    record = permit.correction(
        of="database",
        before="the live database",
        after=what,
        reason=f"swapped for {restored}",
    )
    used = journal.approvals(work.database)
    identity.record_swap(work, create.named(work.database, restored), record, used=used)


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


def propose_drop(work: Work, request: Request) -> Proposal[tuple[tuple[str, int], ...]]:
    """Propose to drop the databases that earlier restores put aside. Reads only.

    Raises:
        Refused: there is none.

    """

    def again() -> tuple[Plan, tuple[tuple[str, int], ...]]:
        identity.require(work)
        databases = old_databases(work.database, work.settings.name)
        oids = create.oids(work.database, tuple(name for name, _ in databases))
        lines = tuple(
            f"drop the database {name}, oid {oid}"
            for (name, _), oid in zip(databases, oids, strict=True)
        )
        target = work.database.read("restore", read_target)
        facts = Facts(target=target, history=(), schema_fingerprint="")
        plan = orders.order_plan(work, request, facts, lines, arguments=request.arguments)
        return plan, databases

    return orders.propose(request, again)


def drop_databases(work: Work, proposal: Proposal[tuple[tuple[str, int], ...]]) -> tuple[str, ...]:
    """Drop databases that earlier restores put aside, and return their names.

    Raises:
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: there are other ones now.

    """
    with orders.permitted(work, proposal) as permit:
        names = tuple(name for name, _ in permit.found)
        orders.record(
            work,
            *(
                permit.correction(of=name, before="kept aside", after="dropped", reason="drop-old")
                for name in names
            ),
        )
        for name in names:
            create.drop(work.database, name)
            work.reporter.note(f"dropped {name}")
    return names
