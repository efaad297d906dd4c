"""The plan on a restored copy: each migration applied, watched, verified, undone, reapplied."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from .. import files
from ..backup import catalog, restore, stream
from ..backup.retention import Backup
from ..config.sections import BackupsConfig, LockConfig, RehearsalConfig
from ..database import leftovers
from ..database.connection import Database
from ..database.retry import Terms
from ..engines import Engine
from ..errors import ConfigError, StepFailed, Unchanged, changed
from ..model import Migration, Plan, Rehearsal, Rehearsed
from ..parser.file import LARGEST, parse
from ..plan.pending import in_running_order
from ..postgres import throwaway
from ..postgres.roles import Runner
from ..secret import redact
from ..stores import Store
from . import busy, rows, sets, together, waiting
from .busy import Reading
from .copy import Attempt, Copy, Definitions, clients_for
from .service import ServiceBench, Trials, require_plain

ON_THE_COPY = Unchanged("seen on the copy")
NO_SCRIPT = "no rollback script"
USUAL_PATH = b'set local search_path = "$user", public'  # of a mask: the server's own default
CUT_OFF = "it was cut off half way before: how it began is not known"
NOT_REACHED = "one that is undone before it could not be"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a rehearsal needs besides the plan.

    lock: the environment's; the copy gets the same timeouts.
    root: the directory of deploy.yml, where the mask's path begins.
    runner: the role that will run the migrations.
    progress: of the restore, in bytes.
    done: called after each migration with (how many are done, how many there are).
    service: how the service is tried on the copy; None: it is not.
    live: reads how busy the live server is, or says why it cannot; None: nobody asks.
    """

    store: Store
    config: BackupsConfig
    rehearsal: RehearsalConfig
    lock: LockConfig
    engine: Engine
    root: Path
    runner: Runner
    progress: stream.Progress
    done: Callable[[int, int], None]
    service: ServiceBench | None = None
    live: Callable[[], Reading | str] | None = None


def youngest(plan: Plan, store: Store, config: RehearsalConfig, *, now: datetime) -> Backup | None:
    """Return the newest verified backup that the plan can begin from, and that is young enough.

    It holds the plan's history and exactly its schema, of the same database on the same server.
    """
    known = catalog.backups(store, environment=plan.environment, database=plan.target.database)
    applied = {name for name, _ in plan.history}
    for backup in known:
        manifest = backup.manifest
        age = (now - manifest.taken_at).total_seconds()
        same = (
            manifest.system_identifier == plan.target.system_identifier
            and manifest.schema_fingerprint == plan.schema_fingerprint
        )
        if backup.level and same and set(manifest.applied) == applied:
            return backup if age <= config.backup_age.seconds else None
    return None


def rehearse_plan(plan: Plan, backup: Backup, bench: Bench) -> Rehearsal:
    """Run a plan's migrations on a throw-away copy, and record with the backup what was seen.

    In the order and the transactions of a deployment; the copy and its server are gone afterwards.

    Raises:
        StepFailed: a migration or its rollback fails, or the rollback does not give the schema
            back; says what differs.

    """
    manifest, config = backup.manifest, bench.config
    mask = read_mask(bench.rehearsal, bench.root)
    if bench.service is not None:
        require_plain(bench.service.config)
    began = time.monotonic()
    reading = bench.live() if bench.live is not None else ""
    needs = throwaway.needs_of(manifest, roles=bench.runner.roles)
    with throwaway.copied(needs, config.throwaway, sandboxed=config.sandbox) as (server, admin):
        wanted = restore.RestoreOptions(copy=True, as_superuser=server.boxed)
        loaded = restore.restore_backup(
            manifest, bench.store, admin, config, progress=bench.progress, wanted=wanted
        )
        restored = time.monotonic()
        if not loaded.analyzed:
            restore.analyze(admin)
        clone = server.clone(admin, bench.runner, loaded_as=loaded.loaded_as)
        if mask:
            _run_mask(mask, bench.rehearsal.mask, clone.database)
        copy = Copy(
            database=clone.database,
            admin=admin,
            lacks=clone.lacks,
            engine=bench.engine,
            clients=clients_for(admin, config.image),
            terms=Terms(lock=bench.lock),
            watched=True,
        )
        trials = Trials(bench.service, clone.database) if bench.service is not None else None
        before = clone.database.read("rehearse", leftovers.read_leftovers)
        migrations = _all(plan, copy, bench, trials)
        after = clone.database.read("rehearse", leftovers.read_leftovers)
        rehearsal = Rehearsal(
            plan_digest=plan.digest,
            backup=manifest.id,
            backup_taken_at=manifest.taken_at,
            server=server.name,
            at=datetime.now(UTC),
            backup_seconds=manifest.seconds,
            proof_seconds=max((proof.seconds for proof in backup.proofs), default=0.0),
            restore_seconds=round(restored - began, 3),
            migrations=migrations,
            leftovers=tuple(left for left in after if left not in before),
            service=trials.done if trials is not None else (),
        )
    rehearsal = _with_activity(rehearsal, reading, bench)
    catalog.note_rehearsal(bench.store, manifest, rehearsal)
    return rehearsal


def _with_activity(rehearsal: Rehearsal, first: Reading | str, bench: Bench) -> Rehearsal:
    """Add how busy the tables are that anybody waits for; or why that is not known."""
    second = bench.live() if bench.live is not None else ""
    if isinstance(second, str) or isinstance(first, str):
        reasons = tuple(dict.fromkeys(text for text in (first, second) if isinstance(text, str)))
        return msgspec.structs.replace(rehearsal, not_seen=tuple(filter(None, reasons)))
    hidden = busy.hidden_calls(second)
    unseen = [second.unseen] if second.unseen else []
    unseen += [f"{hidden:,} calls of statements whose text our role may not read"] if hidden else []
    return msgspec.structs.replace(
        rehearsal,
        activity=busy.activity(first, second, waiting.relations(rehearsal)),
        not_seen=tuple(unseen),
    )


def read_mask(config: RehearsalConfig, root: Path) -> str:
    """Return the text of the mask, beside deploy.yml in `root`; empty where none is named.

    Raises:
        ConfigError: it cannot be read.

    """
    if not config.mask:
        return ""
    try:
        return files.read(root / config.mask, at_most=LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"rehearsal.mask: {config.mask} cannot be read: {error}",
            next_step="name an SQL file beside deploy.yml, or remove the key",
        ) from None


def _run_mask(text: str, name: str, copy: Database) -> None:
    """Run the mask in one transaction."""
    try:
        with copy.connect("mask", autocommit=False) as connection:
            connection.execute(USUAL_PATH)
            connection.execute(text.encode())
    except psycopg.Error as error:
        raise StepFailed(
            redact(f"{name}: the mask failed: {error}".splitlines()[0]),
            state=Unchanged("the copy is gone"),
            next_step=f"mend {name}, and rehearse again",
        ) from error


def _all(plan: Plan, copy: Copy, bench: Bench, trials: Trials | None) -> tuple[Rehearsed, ...]:
    """Run every migration, those of before the restart first, and return what they did.

    Between them the service is tried, as a deployment would have it, and behind their rollback.
    """
    copy.engine.history.prepare(copy.database)
    ordered = in_running_order(plan.migrations)
    if trials is None:
        return _each(plan, ordered, copy, bench)
    trials.ask("old", "before")
    first = tuple(migration for migration in ordered if migration.phase == "before")
    last = ordered[len(first) :]
    parts = together.around(first, last, lambda migration: not _stays(plan, migration))
    if parts.first and parts.last:
        return _as_one_set(plan, parts, copy, bench, trials)
    done = _each(plan, first, copy, bench)
    if untried := next((each for each in done if each.not_rehearsed), None):
        _skip(trials, untried)
        return (*done, *(_not_rehearsed(each, f"it comes behind {untried.name}") for each in last))
    trials.ask("old", "migrated")
    trials.ask("new", "migrated")
    if last:
        done += _each(plan, last, copy, bench, before=len(first))
        trials.ask("new", "finished")
    _roll_back(ordered, done, copy, trials)
    return done


def _as_one_set(
    plan: Plan, parts: together.Around, copy: Copy, bench: Bench, trials: Trials
) -> tuple[Rehearsed, ...]:
    """Judge what is undone on both sides of the restart as one set, then try the service.

    The set has given the definitions back by then, so that each side can be run once more.
    """
    head, first, last, tail = parts
    done = _each(plan, head, copy, bench)
    for chunk in ((*first, *last), ()):
        if untried := next((each for each in done if each.not_rehearsed), None):
            _skip(trials, untried)
            behind = (*head, *first, *last, *tail)[len(done) :]
            return (*done, *(_not_rehearsed(m, f"it comes behind {untried.name}") for m in behind))
        done += _each(plan, chunk, copy, bench, before=len(done))
    for migration in reversed((*first, *last)):
        copy.undo(migration)
    for migration in first:
        copy.apply(migration)
    trials.ask("old", "migrated")
    trials.ask("new", "migrated")
    for migration in last:
        copy.apply(migration)
    done += _each(plan, tail, copy, bench, before=len(done))
    trials.ask("new", "finished")
    _roll_back((*head, *first, *last, *tail), done, copy, trials)
    return done


def _skip(trials: Trials, untried: Rehearsed) -> None:
    """Record that no version was tried on a schema that could not be rehearsed."""
    for version in ("old", "new"):
        trials.skip(version, "migrated", f"{untried.name} could not be rehearsed")


def _roll_back(
    ordered: tuple[Migration, ...], done: tuple[Rehearsed, ...], copy: Copy, trials: Trials
) -> None:
    """Undo every migration, last first, and try the version that served before once more."""
    kept = next((each for each in done if not each.rolled_back), None)
    if kept is not None:
        why = kept.not_rehearsed or kept.not_rolled_back
        trials.skip("old", "rolled back", f"{kept.name} was not rolled back: {why}")
        return
    for migration in reversed(ordered):
        copy.undo(migration)
    trials.ask("old", "rolled back")


def _each(
    plan: Plan, ordered: tuple[Migration, ...], copy: Copy, bench: Bench, *, before: int = 0
) -> tuple[Rehearsed, ...]:
    """Run migrations in their order; `before` are done already."""
    definitions: Definitions = copy.definitions()
    done, untried = list[Rehearsed](), ""
    stay = {m.name: why for m in ordered if (why := _stays(plan, m))}
    for members, back in together.sets(ordered, lambda migration: migration.name not in stay):
        attempts = () if untried else sets.attempt_set(copy, members, definitions, back=back)
        taken: set[str] = set()
        results = []
        for migration, attempt in reversed(tuple(zip(members, attempts, strict=False))):
            if why_not := copy.not_tried(attempt):
                untried = migration.name
                results.append(_not_rehearsed(migration, why_not))
                continue
            _require_success(migration, attempt)
            result = _rehearsed(migration, attempt, stay.get(migration.name, ""), taken)
            count = _before_batches(migration)
            results.append(msgspec.structs.replace(result, together=count))
        definitions = attempts[-1].after if attempts else definitions
        done += reversed(results)
        done += [_not_rehearsed(m, f"it comes behind {untried}") for m in members[len(attempts) :]]
        bench.done(before + len(done), len(plan.migrations))
    return tuple(done)


def _before_batches(migration: Migration) -> int:
    """Return how many statements of a file are in one transaction before those in batches."""
    if migration.transactional:
        return 0
    try:
        return parse(Path(migration.name), migration.sql).together
    except ConfigError:  # no SQL: a revision in Python, whose batches have a file of their own
        return 0


def _stays(plan: Plan, migration: Migration) -> str:
    """Return why a migration is not undone on the copy; empty where it is."""
    if migration.irreversible:
        return f"irreversible: {migration.irreversible}"
    if migration.rollback is None:
        return NO_SCRIPT
    return CUT_OFF if any(part.name == migration.name for part in plan.partials) else ""


def _require_success(migration: Migration, attempt: Attempt) -> None:
    """Raise where a migration failed, or its rollback does not give the schema back."""
    if attempt.differences:
        others = len(attempt.differences) - 1
        more = f"; and {others} more" if others else ""
        raise StepFailed(
            f"{migration.name}: its rollback does not give the schema back: "
            f"{attempt.differences[0]}{more}",
            state=ON_THE_COPY,
            next_step=f"mend the rollback script of {migration.name}, and rehearse again",
        )
    if isinstance(attempt.error, StepFailed):
        raise changed(attempt.error, state=ON_THE_COPY) from attempt.error
    if attempt.error is not None:
        raise attempt.error


def _not_rehearsed(migration: Migration, reason: str) -> Rehearsed:
    return Rehearsed(
        name=migration.name,
        transactional=migration.transactional,
        seconds=0.0,
        statements=(),
        growth=0,
        rolled_back=False,
        not_rolled_back="it could not be rehearsed",
        not_rehearsed=reason,
    )


def _rehearsed(migration: Migration, attempt: Attempt, stays: str, taken: set[str]) -> Rehearsed:
    """Return what one did; `taken` has what rollbacks before its own did not bring back."""
    lost = rows.lost(attempt.rows_before, attempt.rows_undone) if attempt.undone else {}
    own = {name: words for name, words in lost.items() if name not in taken}
    grown = rows.grown(attempt.rows_before, attempt.rows_undone)
    taken |= lost.keys()
    gone = rows.dropped(attempt.rows_applied, attempt.rows_undone) if attempt.undone else ()
    return Rehearsed(
        name=migration.name,
        transactional=migration.transactional,
        seconds=attempt.seconds,
        statements=attempt.statements,
        growth=attempt.growth,
        rolled_back=attempt.undone,
        not_rolled_back="" if attempt.undone else stays or NOT_REACHED,
        rollback_seconds=attempt.undo_seconds,
        lost=tuple(own.values()),
        more=tuple(words for name, words in own.items() if name in grown),
        dropped=gone,
        proven_with=attempt.proven_with,
    )
