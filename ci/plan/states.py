"""The state of each migration: what is on disk against what the history has. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from ..model import Applied, Failed, Migration, Partial

# What --to takes besides the name of a migration.
EVERYTHING = "heads"  # every migration, where a graph has several ends
NOTHING = "base"  # the state before the first migration: undo everything
SHOWN = 120  # characters of what a tool wrote about its failure


class State(StrEnum):
    """The state of a migration."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"  # applied, and the file has changed since
    MISSING = "missing"  # applied, and the file is gone
    AHEAD = "ahead"  # applied, and newer than every file: the checkout is older than the database
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
    failures = {failure.name: failure for failure in failed}
    graph = is_graph(on_disk)
    newest = "" if graph else max((name for name in rows if name in files), default="")
    names = files.keys() | rows.keys() | halves.keys() | failures.keys()
    place = {name: at for at, name in enumerate(files, start=1)} if graph else {}
    states = []
    for name in sorted(names, key=lambda name: (place.get(name, 0), name)):
        migration, row, half = files.get(name), rows.get(name), halves.get(name)
        title = migration.title if migration else ""
        when = row.applied_at.isoformat(timespec="seconds") if row and row.applied_at else ""
        if name in failures:
            began = f"{failures[name].started_at:%Y-%m-%d %H:%M:%S} UTC"
            message = " ".join(failures[name].said.split())[:SHOWN]
            states.append(MigrationState(name, State.FAILED, when, f"began {began}: {message}"))
        elif half is not None and migration is not None:
            state = State.PARTIAL if half.direction == "up" else State.HALF_UNDONE
            states.append(MigrationState(name, state, when, str(half), title))
        else:
            state = _state(migration, row, newest)
            states.append(MigrationState(name, state, when, title=title))
    return _ahead(tuple(states), newest_file=max(files, default="") if not graph else "")


def _ahead(states: tuple[MigrationState, ...], newest_file: str) -> tuple[MigrationState, ...]:
    """Return the states where what is applied and unknown only goes beyond the files.

    An older file's database is not of another branch: all that is on disk is applied there.
    `newest_file` is empty for a graph, whose names say nothing of their order.
    """
    missing = [state.name for state in states if state.state is State.MISSING]
    others = {state.state for state in states} - {State.MISSING}
    if others != {State.APPLIED} or (missing and min(missing) < newest_file):
        return states
    return tuple(
        replace(state, state=State.AHEAD) if state.state is State.MISSING else state
        for state in states
    )


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
        last = max(
            (at for at, migration in enumerate(on_disk) if migration.name in wanted), default=-1
        )
        return frozenset(migration.name for migration in on_disk[: last + 1])
    for migration in reversed(on_disk):
        if migration.name in wanted:
            wanted.update(migration.after or ())
    return frozenset(wanted)


def built_on(on_disk: tuple[Migration, ...], name: str) -> frozenset[str]:
    """Return the migrations of a graph that build on this one, whether at once or not."""
    names = {name}
    for migration in on_disk:
        if names.intersection(migration.after or ()):
            names.add(migration.name)
    return frozenset(names - {name})


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


def unapplied(states: tuple[MigrationState, ...]) -> tuple[MigrationState, ...]:
    """Return those on disk that are not applied, or not wholly."""
    left = (State.PENDING, State.OUT_OF_ORDER, State.FAILED, State.PARTIAL, State.HALF_UNDONE)
    return tuple(state for state in states if state.state in left)
