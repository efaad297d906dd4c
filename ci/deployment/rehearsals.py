"""A plan's rehearsal: the existing one, or a new one; and what it must not show."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg

from .. import policy
from ..backup import catalog, retention, signed
from ..backup.proof import verify_and_record
from ..database import leftovers
from ..database.connection import read_target
from ..errors import Place, Refused, Unchanged
from ..lint import severity
from ..lint.rules import LONG_LOCK
from ..model import Manifest, Plan, Rehearsal
from ..postgres import throwaway
from ..postgres.roles import read_runner
from ..rehearsal import forecast, rehearse
from ..rehearsal.activity import read_activity
from ..stores import Store
from . import backups, facts, hot_tables, outlast, serving, verifying
from .work import Work, bytes_of, store_of


def missing_reason(work: Work) -> str:
    """Return why there is no server for a copy; empty where there is one, or one is named."""
    _, config = store_of(work)
    version, extensions = work.database.read("rehearse", _needed)
    return throwaway.missing_reason(version, extensions, config.throwaway)


def no_backup_reason(plan: Plan, work: Work) -> str:
    """Return why there is no backup to rehearse on: none is young, and none can be signed here."""
    store, _ = store_of(work)
    config = work.settings.shared.rehearsal
    if signed.can_write(store):
        return ""
    if rehearse.youngest(plan, store, config, now=datetime.now(UTC)) is not None:
        return ""
    return (
        f"no proven backup is younger than {config.backup_age}, and there is no key here to sign "
        "a new one with"
    )


def recent_rehearsal(plan: Plan, work: Work) -> Rehearsal | None:
    """Return the rehearsal of exactly this plan that is no older than a backup may be."""
    rehearsal = rehearsal_of(plan, work.store)
    at_most = timedelta(seconds=work.settings.shared.rehearsal.backup_age.seconds)
    if rehearsal is None or datetime.now(UTC) - rehearsal.at > at_most:
        return None
    return rehearsal


def rehearsal_of(plan: Plan, store: Store | None) -> Rehearsal | None:
    """Return the newest rehearsal of exactly this plan; None too where there are no backups."""
    if store is None:
        return None
    return catalog.find_rehearsal(
        store,
        environment=plan.environment,
        database=plan.target.database,
        plan_digest=plan.digest,
    )


def rehearse_now(plan: Plan, work: Work) -> Rehearsal:
    """Rehearse on the newest proven backup; where none is young enough, on one taken now."""
    store, config = store_of(work)
    shared = work.settings.shared
    backup = rehearse.youngest(plan, store, shared.rehearsal, now=datetime.now(UTC))
    if backup is None:
        work.reporter.note(
            "no proven backup of this history and schema is younger than "
            f"{shared.rehearsal.backup_age}: taking one"
        )
        applied = tuple(name for name, _ in plan.history)
        with backups.locked(work) as held:
            manifest = outlast.read_again(
                replace(work, guard=held.require),
                lambda: backups.take_backup(work, plan.target, applied=applied),
            )
            _require_same_schema(plan, manifest)
            level = policy.proof(work.settings)
            proof = verify_and_record(
                manifest, store, config, level=level, progress=bytes_of(work.reporter)
            )
        backup = retention.Backup(manifest=manifest, proofs=(proof,))
    return rehearse.rehearse_plan(
        plan,
        backup,
        rehearse.Bench(
            store=store,
            config=config,
            rehearsal=shared.rehearsal,
            lock=work.settings.environment.lock,
            engine=work.engine,
            root=work.settings.root,
            runner=work.database.read("rehearse", read_runner),
            progress=bytes_of(work.reporter),
            done=lambda done, total: work.reporter.progress(done, total, "migrations"),
            service=serving.bench(work),
            live=lambda: read_activity(work.database),
        ),
    )


def _require_same_schema(plan: Plan, manifest: Manifest) -> None:
    if manifest.schema_fingerprint != plan.schema_fingerprint:
        raise Refused(
            "the schema was changed by somebody else between the plan and its backup "
            f"{manifest.id}",
            state=Unchanged("the backup stays, and is not proven"),
            next_step="find out who changes it, and start the same command again",
        )


def _needed(connection: psycopg.Connection) -> tuple[int, tuple[str, ...]]:
    """Return the version and the extensions that a server for a copy must have."""
    rows = connection.execute("select extname from pg_catalog.pg_extension").fetchall()
    return read_target(connection).server_version, tuple(row[0] for row in rows)


def refuse_unknown(plan: Plan, work: Work, reason: str) -> None:
    """Refuse what only a rehearsal can show, where none is possible."""
    hot_tables.refuse_named(plan, work)
    unknown = severity.unknown(facts.lint_findings(plan, work, None))
    if unknown and policy.UNKNOWN_STOPS[plan.tier]:
        raise Refused(
            f"{unknown[0].headline}, and none is possible: {reason}",
            place=Place(unknown[0].file, unknown[0].line),
            next_step="name a server for copies (throwaway: URL under backups), or write above "
            f"the statement: -- windlass: allow {unknown[0].rule} REASON",
        )


def refuse_leftovers(plan: Plan, work: Work, rehearsal: Rehearsal) -> None:
    """Refuse what was left half done on the copy: after the smoke test it would only be told."""
    left = verifying.not_allowed(rehearsal.leftovers, plan, work)
    if not left:
        return
    what = f"it leaves half done: {'; '.join(left)}"
    if not policy.LINT_STOPS[plan.tier]:
        work.reporter.note(what)
        return
    raise Refused(
        what,
        next_step=f"{leftovers.repair(left[0])} in the migration; where it is meant to stay: "
        f"-- windlass: allow {leftovers.rule(left[0])} REASON there",
    )


def refuse_long_locks(plan: Plan, work: Work, rehearsal: Rehearsal) -> None:
    """Refuse what held a lock for longer than deploy.yml takes, unless the file gives a reason."""
    limit = work.settings.shared.rehearsal.blocks_at_most
    files = {migration.name: migration for migration in plan.migrations}
    for migration in rehearsal.migrations:
        long = forecast.too_long(migration, at_most=limit.seconds)
        if long is None or LONG_LOCK.id in work.engine.files.allowed(files[migration.name]):
            continue
        what = LONG_LOCK.says(
            mode=long.mode,
            relation=long.relation,
            blocks=long.blocks,
            seconds=f"{long.seconds:.1f}",
            limit=str(limit),
        ).message
        if not policy.LINT_STOPS[plan.tier]:
            work.reporter.note(f"{long.statement.where}: {what}")
            continue
        raise Refused(
            what,
            place=Place.parse(long.statement.where),
            next_step="change the migration (NOT VALID and VALIDATE, CONCURRENTLY, batches), or "
            f"write above the statement: -- windlass: allow {LONG_LOCK.id} REASON",
        )
