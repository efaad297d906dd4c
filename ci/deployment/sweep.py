"""What killed runs left outside their transactions: found by what they announced, and ended.

Under the deployment lock every other deployment is dead. Only what happens without the lock may
live, and its run holds what tells so (`markers.announced`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import psycopg

from .. import temporary
from ..backup import loader
from ..backup.dump import folder
from ..database import create, lock, markers
from ..database.markers import Marker
from ..errors import StepFailed, WindlassError
from ..plan import leftovers, restarts, rolling
from ..plan.leftovers import Act, Databases, Leftover
from ..postgres import throwaway
from ..stores import Store
from . import units
from .work import Work

STEP = "sweep"
COMMENTS = """
    select datname, coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '')
    from pg_catalog.pg_database
"""
LIVE = """
    select datname, datconnlimit, oid::bigint from pg_catalog.pg_database
    where datname = pg_catalog.current_database()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left in the server, and the markers of backups: of dead runs, and of live ones."""

    here: tuple[Leftover, ...] = ()
    dead: tuple[Marker, ...] = ()
    living: tuple[Marker, ...] = ()


def find(work: Work, *, restoring: bool = False) -> tuple[Leftover, ...]:
    """Return what killed runs left, and no live one has. Reads only.

    Args:
        work: the world.
        restoring: for a restore in the live database's place, which begins anew.

    """
    look = partial(_in_database, restoring=restoring)
    in_database, dead, _ = work.database.read(STEP, look)
    try:
        return in_database + _archives(work, dead, None)
    except StepFailed as error:
        work.reporter.note(f"not looked for archives without a manifest: {error.what}")
        return in_database


def left_behind(work: Work, *, thorough: bool = False) -> tuple[Leftover, ...]:
    """Return what `status` and `doctor` tell: all that killed runs left, roles too. Reads only."""
    return told_of(work, work.database.read(STEP, read_left), thorough=thorough)


def read_left(connection: psycopg.Connection) -> Left:
    """Return what killed runs left in the server, as `status` and `doctor` tell it.

    What another run is at work on, under the deployment lock, is not left; nor is what nothing but
    a marker is left of.
    """
    here, dead, living = _in_database(connection, restoring=False)
    holder = lock.who(connection)
    begun = () if holder else restarts.left(markers.read(connection))
    told = tuple(
        leftover
        for leftover in here
        if leftover.act is not Act.FORGET
        and not (holder and (leftover.act is Act.END or leftover.members))
    )
    running = (leftovers.of_restart(r.command, r.machine.host, r.began) for r in begun)
    roles = (leftovers.of_role(role) for role in loader.abandoned(connection))
    return Left(here=(*told, *running, *roles), dead=dead, living=living)


def told_of(work: Work, left: Left, *, thorough: bool = False) -> tuple[Leftover, ...]:
    """Return what was read, and what the store has, where it answers."""
    try:
        archives = _archives(work, left.dead, left.living if thorough else None)
    except StepFailed as error:
        work.reporter.note(f"not looked for archives without a manifest: {error.what}")
        return left.here
    return left.here + tuple(each for each in archives if each.act is not Act.FORGET)


def sweep(
    work: Work, *, restoring: bool = False, spared: Collection[str] = (), begins: bool = True
) -> None:
    """End what killed runs left, and tell what a person must decide; under the deployment lock.

    What cannot be ended is told, and ends nothing: the next run tries again.

    Args:
        work: the environment.
        restoring: for a restore in the live database's place, which begins anew.
        spared: the subjects that this run is about: a database, the unit that it goes on with.
        begins: it begins something, which takes the place of what another task had begun.

    """
    _sweep_directories(work)
    for leftover in find(work, restoring=restoring):
        if leftover.subject in spared or (leftover.act is Act.END and not begins):
            continue
        if leftover.act is Act.WAIT:
            continue
        if leftover.act is Act.TELL:
            work.reporter.alarm(leftovers.text(leftover, work.settings.name))
            continue
        try:
            _end(work, leftover)
        except (StepFailed, psycopg.Error) as error:
            words = error.what if isinstance(error, WindlassError) else str(error)
            work.reporter.alarm(f"not removed: {leftover.what} ({words}); {leftover.command}")
    if work.database.read(STEP, loader.abandoned):
        _drop_roles(work)


def _drop_roles(work: Work) -> None:
    """Drop the roles that loaded archives for killed restores, whose databases are gone."""
    with work.database.connect(STEP) as connection:
        for role in loader.sweep(connection):
            work.reporter.note(f"dropped the role {role}, which a killed restore left")


def sweep_unlocked(work: Work) -> None:
    """End what tells itself that its run is dead: temporary directories, half restored databases.

    Raises:
        StepFailed: the server did not drop one.

    """
    _sweep_directories(work)
    for leftover in work.database.read(STEP, partial(_in_database, restoring=False))[0]:
        if leftover.act is Act.DROP:
            _end(work, leftover)


def _sweep_directories(work: Work) -> None:
    if directories := temporary.sweep():
        work.reporter.note(f"removed {len(directories)} temporary directories of killed runs")
    if servers := throwaway.sweep():
        work.reporter.note(f"removed {len(servers)} throwaway servers of killed runs, with copies")


def _end(work: Work, leftover: Leftover) -> None:
    """End one, clear its marker, and say what was done."""
    if leftover.act is Act.DROP:
        create.drop(work.database, leftover.subject)
        work.reporter.note(f"dropped {leftover.what}")
    elif leftover.act is Act.REMOVE and work.store is not None:
        _remove(work.store, leftover.subject)
        work.reporter.note(f"removed {leftover.what}")
    elif leftover.act is Act.SAY:
        work.reporter.note(leftover.what)
    elif leftover.act is Act.END:
        work.reporter.note(f"{leftover.what}; this run takes its place")
    for marker in (leftover.marker, *leftover.members):
        if marker:
            markers.clear(work.database, marker)


def _remove(store: Store, place: str) -> None:
    store.sweep(place)
    for key in tuple(store.keys(place)):
        store.delete(key)


def _in_database(
    connection: psycopg.Connection, *, restoring: bool
) -> tuple[tuple[Leftover, ...], tuple[Marker, ...], tuple[Marker, ...]]:
    """Return what is left in the server, and the markers of backups: of dead runs, of live ones."""
    recorded = markers.read(connection)
    alive = markers.alive(connection, tuple(marker.id for marker in recorded))
    dead = tuple(marker for marker in recorded if marker.id not in alive)
    row = connection.execute(LIVE).fetchone()
    if row is None:
        raise AssertionError("current_database() is not in pg_database")
    comments: dict[str, str] = dict(connection.execute(COMMENTS).fetchall()) if dead else {}
    seen = Databases(live=row[2], comments=comments)
    shut = leftovers.shut_out(str(row[0]), int(row[1]))
    left = [leftover for marker in dead if (leftover := _of(marker, seen, restoring)) is not None]
    backups = [marker for marker in recorded if marker.kind == leftovers.ARCHIVE]
    return (
        (*([shut] if shut else []), *left, *_members(connection, dead)),
        tuple(marker for marker in backups if marker.id not in alive),
        tuple(marker for marker in backups if marker.id in alive),
    )


def _members(connection: psycopg.Connection, dead: tuple[Marker, ...]) -> tuple[Leftover, ...]:
    """Return what runs of a restart of several members left of it."""
    if not any(marker.kind == rolling.KIND for marker in dead):
        return ()
    unit = units.read_open(connection)
    chain = unit.chain if unit is not None else ()
    digest = unit.intent.plan_digest if unit is not None else ""
    own, others = rolling.marks(dead, chain, digest)
    left = leftovers.of_members(unit.id, own, goes_on=unit.environment) if unit and own else None
    foreign = [marker for marker in dead if marker.id in others]
    ended = [leftovers.of_ended_members(run, foreign) for run in {m.deployment: 0 for m in foreign}]
    return (*([left] if left else []), *ended)


def _of(marker: Marker, seen: Databases, restoring: bool) -> Leftover | None:
    if marker.kind == leftovers.LOADED:
        return leftovers.of_loaded(marker.id, marker.detail, seen, restoring=restoring)
    if marker.kind == leftovers.SWAP:
        return leftovers.of_swap(marker.id, marker.deployment, marker.detail)
    if marker.kind == leftovers.FILLING:
        return leftovers.of_filling(marker.id, marker.deployment, marker.detail, seen)
    if marker.kind == leftovers.ORDER:
        return leftovers.of_order(marker.id, marker.deployment, marker.detail)
    return None


def _archives(
    work: Work, dead: tuple[Marker, ...], living: tuple[Marker, ...] | None
) -> tuple[Leftover, ...]:
    """Return the archives without a manifest: those of dead runs, and those that none announced.

    `living`: the backups that are being taken; None: only what was announced is looked for.
    """
    prefix = folder(work.settings.name, work.database.name)
    ended = {marker.get("key"): marker for marker in dead if marker.get("key").startswith(prefix)}
    if work.store is None or not (ended or living is not None):
        return ()
    places = _places(work.store, prefix)
    known = [
        leftovers.of_archive(marker.id, marker.deployment, place, places.get(place, ()))
        for place, marker in ended.items()
    ]
    if living is None:
        return tuple(known)
    told = {*ended, *(marker.get("key") for marker in living)}
    others = [
        leftovers.unowned(place, names) for place, names in places.items() if place not in told
    ]
    return (*known, *(leftover for leftover in others if leftover is not None))


def _places(store: Store, prefix: str) -> dict[str, tuple[str, ...]]:
    """Return the names of the objects of each backup, by the beginning of their keys."""
    places: dict[str, list[str]] = {}
    for key in store.keys(prefix):
        place, slash, name = key.rpartition("/")
        places.setdefault(place + slash, []).append(name)
    return {place: tuple(names) for place, names in places.items()}
