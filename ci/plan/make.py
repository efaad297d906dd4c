"""From what is on disk and what is in the database to a plan. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..config import MigrationsConfig, Settings
from ..errors import Refused
from ..model import Applied, Direction, Facts, Failed, Migration, Partial, Plan, StepName
from ..policy import ROLLBACK_ASKED_FOR, on_failure, steps_for

# Keys of an environment that say where to reach things or how long to wait for them, and so do
# not decide what happens to the database.
_NOT_DECIDING = frozenset({"database"})


EVERYTHING = "heads"  # every migration, where a graph has several ends
SHOWN = 120  # characters of what a tool wrote about its failure


class State(StrEnum):
    """Where a migration stands."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"  # applied, and the file has changed since
    MISSING = "missing"  # applied, and the file is gone
    PARTIAL = "partial"  # cut off half way; the next deployment goes on with it
    HALF_UNDONE = "half undone"  # its rollback was cut off half way
    FAILED = "failed"  # begun by the tool itself, not ended, not resolved
    OUT_OF_ORDER = "out of order"  # pending, and older than the newest applied one


@dataclass(frozen=True, slots=True)
class MigrationState:
    """One line of `status`."""

    name: str
    state: State
    applied_at: str = ""  # ISO 8601, UTC
    detail: str = ""  # how far a partial one came
    title: str = ""  # what it does, where its name does not say it


def compare(
    on_disk: tuple[Migration, ...],
    history: tuple[Applied, ...],
    partials: tuple[Partial, ...] = (),
    failed: tuple[Failed, ...] = (),
) -> tuple[MigrationState, ...]:
    """Return the state of every migration that is on disk or in the history.

    In the order they run; those without a file by name among them, of a graph before them.
    """
    files = {migration.name: migration for migration in on_disk}
    rows = {row.name: row for row in history}
    halves = {partial.name: partial for partial in partials}
    broken = {one.name: one for one in failed}
    graph = is_graph(on_disk)
    newest = "" if graph else max((name for name in rows if name in files), default="")
    names = files.keys() | rows.keys() | halves.keys() | broken.keys()
    place = {name: at for at, name in enumerate(files, start=1)} if graph else {}
    found = []
    for name in sorted(names, key=lambda name: (place.get(name, 0), name)):
        migration, row, half = files.get(name), rows.get(name), halves.get(name)
        title = migration.title if migration else ""
        when = row.applied_at.isoformat(timespec="seconds") if row and row.applied_at else ""
        if name in broken:
            began = f"{broken[name].started_at:%Y-%m-%d %H:%M:%S} UTC"
            said = " ".join(broken[name].said.split())[:SHOWN]
            found.append(MigrationState(name, State.FAILED, when, f"began {began}: {said}"))
        elif half is not None and migration is not None:
            state = State.PARTIAL if half.direction == "up" else State.HALF_UNDONE
            found.append(MigrationState(name, state, when, str(half), title))
        else:
            state = _state(migration, row, newest)
            found.append(MigrationState(name, state, when, title=title))
    return tuple(found)


def is_graph(on_disk: tuple[Migration, ...]) -> bool:
    """Tell whether migrations say what they build on, rather than follow each other by name."""
    return any(migration.after is not None for migration in on_disk)


def heads(on_disk: tuple[Migration, ...]) -> tuple[str, ...]:
    """Return the migrations of a graph that nothing builds on."""
    below = {name for migration in on_disk for name in migration.after or ()}
    return tuple(migration.name for migration in on_disk if migration.name not in below)


def up_to(on_disk: tuple[Migration, ...], names: Iterable[str]) -> frozenset[str]:
    """Return the migrations with these names, and all those that must have run before them."""
    wanted = set(names)
    if not is_graph(on_disk):
        last = max((at for at, one in enumerate(on_disk) if one.name in wanted), default=-1)
        return frozenset(one.name for one in on_disk[: last + 1])
    for migration in reversed(on_disk):
        if migration.name in wanted:
            wanted.update(migration.after or ())
    return frozenset(wanted)


def built_on(on_disk: tuple[Migration, ...], name: str) -> frozenset[str]:
    """Return the migrations of a graph that build on this one, whether at once or not."""
    found = {name}
    for migration in on_disk:
        if found.intersection(migration.after or ()):
            found.add(migration.name)
    return frozenset(found - {name})


def _state(migration: Migration | None, row: Applied | None, newest: str) -> State:
    if migration is None:
        return State.MISSING
    if row is None:
        return State.OUT_OF_ORDER if migration.name < newest else State.PENDING
    if row.checksum is not None and row.checksum != migration.checksum:
        return State.EDITED
    return State.APPLIED


def waiting(
    on_disk: tuple[Migration, ...], states: tuple[MigrationState, ...]
) -> tuple[Migration, ...]:
    """Return the migrations of which nothing is recorded, but maybe that they failed."""
    unrecorded = (State.PENDING, State.OUT_OF_ORDER, State.FAILED)
    names = {state.name for state in states if state.state in unrecorded}
    return tuple(migration for migration in on_disk if migration.name in names)


def order_problems(
    base: tuple[Migration, ...], here: tuple[Migration, ...], config: MigrationsConfig
) -> tuple[str, ...]:
    """Return, in words, why migrations do not follow those of the commit they are merged into.

    Args:
        base: the migrations there.
        here: those that would stand after the merge.
        config: what deploy.yml allows.

    """
    now = {migration.name: migration for migration in here}
    known = {migration.name for migration in base}
    found = [
        f"{one.name} is in the base and missing here: bring it back, or merge the base first"
        for one in base
        if one.name not in now
    ]
    found += [
        f"{one.name} was edited: it may have run already; write a new migration instead"
        for one in base
        if one.name in now and now[one.name].checksum != one.checksum
    ]
    if is_graph(here):
        several = heads(here) if config.several_heads == "refuse" else ()
        if len(several) > 1:
            names = ", ".join(several)
            found.append(f"several heads: {names}: merge them (invoke create --merge --name NAME)")
    elif known and config.out_of_order == "refuse":
        newest = max(known)
        found += [
            f"{one.name} is older than {newest}, the base's newest: give it a later timestamp"
            for one in here
            if one.name not in known and one.name < newest
        ]
    return tuple(found)


def pending(
    settings: Settings,
    on_disk: tuple[Migration, ...],
    facts: Facts,
    *,
    to: str | None = None,
    steps: int | None = None,
) -> tuple[Migration, ...]:
    """Return the migrations to run, in order, up to and including `to`, and at most `steps`.

    Raises:
        Refused: the history does not fit the files, or a rollback script is asked for and missing.

    """
    states = compare(on_disk, facts.history, facts.partials, facts.failed)
    _refuse_failed(settings, facts.failed)
    _refuse_another_case(states)
    _refuse_edited(settings, states)
    _refuse_half_undone(settings, facts.partials)
    _refuse_out_of_order(settings, states)
    runs = (State.PENDING, State.OUT_OF_ORDER, State.PARTIAL)
    wanted = {s.name for s in states if s.state in runs}
    if to not in (None, EVERYTHING) and to not in {s.name for s in states}:
        raise Refused(
            f'there is no migration "{to}"',
            next_step=f"invoke status --env {settings.name} lists them",
        )
    if to is None:
        _refuse_several_heads(settings, on_disk)
    within = wanted if to is None or to == EVERYTHING else up_to(on_disk, [to])
    found = tuple(m for m in on_disk if m.name in wanted and m.name in within)[:steps]
    _refuse_without_rollback(settings, found)
    return found


def _refuse_another_case(states: tuple[MigrationState, ...]) -> None:
    folded: dict[str, str] = {}
    for state in states:
        other = folded.setdefault(state.name.lower(), state.name)
        if other != state.name:
            raise Refused(
                f"{state.name} and {other} differ in case alone: one is on disk, the other applied",
                next_step="name the file as the history has it",
            )


def _refuse_failed(settings: Settings, failed: tuple[Failed, ...]) -> None:
    if failed:
        name, env = failed[0].name, settings.name
        raise Refused(
            f"P3009: {name} failed when the tool itself ran it, and nobody resolved it",
            next_step=f"undo by hand what it left, then invoke unstamp --env {env} --name {name} "
            f"makes it pending again; or finish it by hand, then invoke stamp --env {env} "
            f"--name {name}",
        )


def _refuse_half_undone(settings: Settings, partials: tuple[Partial, ...]) -> None:
    half = next((partial for partial in partials if partial.direction == "down"), None)
    if half is not None:
        raise Refused(
            f"{half.name} is half undone: {half}",
            next_step=f"invoke rollback --env {settings.name} --name {half.name} goes on with it",
        )


def _refuse_several_heads(settings: Settings, on_disk: tuple[Migration, ...]) -> None:
    found = heads(on_disk) if is_graph(on_disk) else ()
    if len(found) > 1 and settings.shared.migrations.several_heads == "refuse":
        raise Refused(
            f"Multiple head revisions are present: {', '.join(found)}",
            next_step="merge them: invoke create --merge --name merge_heads; or go to one of "
            f"them: invoke migrate --env {settings.name} --to {found[0]}, or to all: --to "
            f"{EVERYTHING}; where they are meant to stay apart: migrations: "
            "{several_heads: allow}",
        )


def _refuse_edited(settings: Settings, states: tuple[MigrationState, ...]) -> None:
    for state in (State.EDITED, State.MISSING):
        names = [s.name for s in states if s.state is state]
        if names:
            was = "was edited after it was applied" if state is State.EDITED else "has no file"
            if state is State.MISSING and settings.shared.migrations.engine == "alembic":
                was += f" (Can't locate revision identified by '{names[0]}')"
            back = "bring the file back as it was (git log)"
            raise Refused(
                f"{names[0]} is applied and {was}"
                + (f" (and {len(names) - 1} more)" if len(names) > 1 else ""),
                next_step=f"{back}, and write a new migration for the new change; where the edit "
                f"changes nothing: invoke repair --env {settings.name} --name {names[0]}"
                if state is State.EDITED
                else f"{back}: this database was migrated from a commit that has it",
            )


def _refuse_out_of_order(settings: Settings, states: tuple[MigrationState, ...]) -> None:
    late = [s.name for s in states if s.state is State.OUT_OF_ORDER]
    allowed = settings.tier == "development" or settings.shared.migrations.out_of_order == "allow"
    if late and not allowed:
        raise Refused(
            f"{late[0]} is older than the newest applied migration",
            next_step="give it a new timestamp, or set migrations.out_of_order: allow",
        )


def _refuse_without_rollback(settings: Settings, found: tuple[Migration, ...]) -> None:
    bare = [m.name for m in found if m.rollback is None]
    if bare and ROLLBACK_ASKED_FOR[settings.tier]:
        raise Refused(
            f"{bare[0]} has no rollback script, which the {settings.tier} tier asks for",
            next_step=f"write {_rollback_of(settings, bare[0])}",
        )


def _rollback_of(settings: Settings, name: str) -> str:
    """Return where the rollback script of a migration is expected."""
    migrations = settings.shared.migrations
    if migrations.engine == "alembic":
        return f"the downgrade() of revision {name}"
    file = f"{name}/rollback.sql" if migrations.engine == "prisma" else f"{name}_rollback.sql"
    return f"{migrations.directory}/{file}"


def make_plan(
    settings: Settings,
    facts: Facts,
    migrations: tuple[Migration, ...],
    *,
    engine: tuple[str, str],
    direction: Direction = "up",
    without: frozenset[StepName] = frozenset(),
) -> Plan:
    """Return what a deployment of these migrations to this database would do.

    `engine` is its name and version; `without` leaves steps out that policy allows to leave out.
    """
    return Plan(
        project=settings.shared.project,
        environment=settings.name,
        tier=settings.tier,
        direction=direction,
        engine=engine[0],
        engine_version=engine[1],
        target=facts.target,
        history=tuple(sorted((row.name, row.checksum) for row in facts.history)),
        schema_fingerprint=facts.schema_fingerprint,
        schema=facts.schema,
        partials=facts.partials,
        leftovers=facts.leftovers,
        migrations=migrations,
        steps=steps_for(settings, direction, without=without),
        policy=_policy(settings),
    )


def _policy(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return every deciding setting as written, variables unexpanded: no secret stands in it."""
    environment = settings.written["environment"]
    deciding = {k: v for k, v in environment.items() if k not in _NOT_DECIDING}
    found = {"on_failure": json.dumps(on_failure(settings))}
    for section in (settings.written["shared"], deciding):
        found |= {key: json.dumps(value, sort_keys=True) for key, value in section.items()}
    return tuple(sorted(found.items()))


def differences(approved: Plan, current: Plan) -> tuple[str, ...]:
    """Return, in words, what differs between two plans; nothing where their digests are equal."""
    found = [
        f"{words}: {_short(before)} then, {_short(now)} now"
        for words, before, now in (
            ("another environment", approved.environment, current.environment),
            ("another direction", approved.direction, current.direction),
            ("another engine", approved.engine, current.engine),
            ("another engine version", approved.engine_version, current.engine_version),
            ("another database", approved.target, current.target),
            ("other steps", _names(approved), _names(current)),
        )
        if before != now
    ]
    found += _history(approved, current) + _migrations(approved, current)
    found += _settings(approved, current)
    if approved.partials != current.partials:
        found.append("a migration was run, or undone, in part since")
    if approved.schema_fingerprint != current.schema_fingerprint:
        found += _schema(approved, current)
    if not found and approved.digest != current.digest:
        found.append("the plan was written in another form")
    return tuple(found)


def _schema(approved: Plan, current: Plan) -> list[str]:
    """Say what the schema gained and lost since; the columns of a new table go with it."""
    before, now = set(approved.schema), set(current.schema)
    if before == now:
        return ["the schema of the database was changed by somebody else"]
    gained = [f"the schema gained {line}" for line in sorted(now - before)]
    lost = [f"the schema lost {line}" for line in sorted(before - now)]
    return gained + lost


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _names(plan: Plan) -> str:
    return ", ".join(f"{s.name}{'' if s.required else '?'}" for s in plan.steps)


def _history(approved: Plan, current: Plan) -> list[str]:
    before, now = dict(approved.history), dict(current.history)
    return (
        [f"{name} appeared in the history" for name in now if name not in before]
        + [f"{name} disappeared from the history" for name in before if name not in now]
        + [f"{n}: checksum changed in the history" for n in now if now[n] != before.get(n, now[n])]
    )


def _migrations(approved: Plan, current: Plan) -> list[str]:
    before = {m.name: m for m in approved.migrations}
    now = {m.name: m for m in current.migrations}
    found = [f"{name} is new among the migrations" for name in now if name not in before]
    found += [f"{name} is no longer among the migrations" for name in before if name not in now]
    for name in before.keys() & now.keys():
        a, b = before[name], now[name]
        for what, changed in (
            ("was edited", a.sql != b.sql),
            ("has another rollback script", a.rollback != b.rollback),
            ("has another verify script", a.verify != b.verify),
            ("runs in another phase", a.phase != b.phase),
        ):
            found += [f"{name} {what}"] if changed else []
    return found


def _settings(approved: Plan, current: Plan) -> list[str]:
    before, now = dict(approved.policy), dict(current.policy)
    return [
        f"deploy.yml: {key} changed"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
