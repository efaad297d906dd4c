"""Does a run go on with what another one left unfinished? Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from ..errors import Refused
from ..model import Intent, Migration, Partial, Plan, Status, StepName, StepResult
from .standing import standing

# How a unit may have ended without being done.
UNFINISHED = frozenset({Status.RUNNING, Status.INTERRUPTED, Status.FAILED, Status.ROLLBACK_FAILED})
# A person, or a signal, or a kill ended it: nobody was told yet what it left.
CUT_OFF = frozenset({Status.RUNNING, Status.INTERRUPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenUnit:
    """A unit of work that is not done, as its last run left it."""

    id: str  # of the last run
    status: Status
    intent: Intent
    chain: tuple[str, ...]  # the ids of its runs, the first one first
    results: tuple[StepResult, ...] = ()  # of all its runs
    approved: Plan | None = None  # the plan that its approval is of, as the journal has it
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit of work as a run takes it up."""

    intent: Intent
    migrations: tuple[Migration, ...]  # all of the unit that have a file, in running order
    continues: str = ""  # the run before this one; empty: this is the first
    chain: tuple[str, ...] = ()
    results: tuple[StepResult, ...] = ()  # of the runs before
    inherits: bool = False  # the approval of the runs before counts for this one too


class Going(StrEnum):
    """What a run does with what another one left unfinished."""

    FRESH = "fresh"  # begins a unit of its own, and ends the other one
    ON = "on"  # does what is left of it
    JOINED = "joined"  # another forward command: what was applied becomes part of its unit
    BACK = "back"  # goes on taking it back


def going(
    unit: OpenUnit | None,
    verb: str,
    arguments: tuple[tuple[str, str], ...],
    applied: Collection[str],
) -> Going:
    """Return what a command does with the unit that is open.

    Args:
        unit: the one that is not done; None: all are.
        verb: the task.
        arguments: its flags that decide, as typed.
        applied: what is applied, or partly applied, now.

    Raises:
        Refused: the unit goes the other way, and is half done.

    """
    if unit is None:
        return Going.FRESH
    intent, cut_off = unit.intent, unit.status in CUT_OFF
    same = (intent.verb, intent.arguments) == (verb, arguments)
    if intent.back:
        if same and cut_off:
            return Going.BACK
        if cut_off:
            raise _unfinished(unit, applied, verb, arguments)
        return Going.JOINED if same or _forward(verb) else Going.FRESH
    if same:
        return Going.ON
    if _forward(verb) and intent.direction == "up":
        return Going.JOINED
    begun = intent.direction == "down" and len(left(intent, applied)) < len(intent.migrations)
    if begun and cut_off:
        raise _unfinished(unit, applied, verb, arguments)
    return Going.FRESH


def unfinished(unit: OpenUnit, applied: Collection[str], partials: tuple[Partial, ...] = ()) -> str:
    """Say what a unit that is not done left, and the command that goes on with it."""
    env, intent = unit.environment, unit.intent
    resume, command = f"invoke resume --env {env}", intent.command(env)
    how = {
        Status.RUNNING: "was killed",
        Status.INTERRUPTED: "was interrupted",
        Status.FAILED: "failed",
        Status.ROLLBACK_FAILED: "failed, and so did its rollback",
    }[unit.status]
    goes_on = f"the same command continues: {command}, and so does {resume}"
    if intent.back:
        goes_on = f"it is taken back because of: {intent.back}; {resume} goes on with that"
    return f"deployment {unit.id} {how}; {goes_on}; {standing(intent, applied, partials)}"


def _forward(verb: str) -> bool:
    return verb != "rollback"


def _unfinished(
    unit: OpenUnit, applied: Collection[str], verb: str, arguments: tuple[tuple[str, str], ...]
) -> Refused:
    env, intent = unit.environment, unit.intent
    asked = msgspec.structs.replace(intent, verb=verb, arguments=arguments).command(env)
    whose = "the rollback of " if intent.back else ""
    names = ", ".join(to_undo_names(intent, applied))
    rest = (
        f"it has still to undo {names}"
        if names
        else "all its migrations are undone, and its later steps are left"
    )
    return Refused(
        f"{whose}deployment {unit.id} ({intent.command(env)}) is not finished: {rest}",
        state="this command changed nothing",
        next_step=f"invoke resume --env {env} finishes it; then {asked}",
    )


def to_undo_names(intent: Intent, applied: Collection[str]) -> tuple[str, ...]:
    """Return what a unit that goes backward has still to undo."""
    return tuple(name for name in intent.migrations if name in applied)


def left(intent: Intent, applied: Collection[str], half: Collection[str] = ()) -> tuple[str, ...]:
    """Return which migrations of a unit are not as it wants them: applied, or undone.

    Args:
        intent: of the unit.
        applied: what is applied, or partly applied, now.
        half: what of it is partly applied: left in both directions.

    """
    down = intent.direction == "down"
    return tuple(name for name in intent.migrations if (name in applied) is down or name in half)


def remaining(
    intent: Intent, applied: Collection[str], half: Collection[str] = ()
) -> tuple[str, ...]:
    """Return which migrations a unit has still to run, or to undo where it is taken back."""
    if intent.back:
        return to_undo_names(intent, applied)
    return left(intent, applied, half)


def as_approved(approved: Plan, current: Plan, migrations: tuple[Migration, ...]) -> Plan:
    """Return the plan that was approved, made anew of what is on disk and in deploy.yml now.

    What the unit itself changed is taken from the plan that was approved: history, schema, what
    is half done. Its digest is the approved one where nothing else has changed.
    """
    return msgspec.structs.replace(
        current,
        history=approved.history,
        schema_fingerprint=approved.schema_fingerprint,
        partials=approved.partials,
        leftovers=approved.leftovers,
        losses=approved.losses,
        migrations=migrations,
    )


def history_problem(approved: Plan, current: Plan, migrations: tuple[Migration, ...]) -> str:
    """Say how the history is another one than the unit alone can have left; empty: it is not."""
    before, now = dict(approved.history), dict(current.history)
    ours = {migration.name: migration.checksum for migration in migrations}
    foreign = [
        name
        for name in sorted(before.keys() ^ now.keys())
        if name not in ours or (name in now) is not (current.direction == "up")
    ]
    foreign += [name for name in sorted(before.keys() & now.keys()) if before[name] != now[name]]
    half = [partial.name for partial in current.partials if partial not in approved.partials]
    foreign += [name for name in half if name not in ours]
    if foreign:
        return f"{foreign[0]} was applied, undone or corrected by somebody else since"
    untouched = before == now and not half
    if untouched and approved.schema_fingerprint != current.schema_fingerprint:
        return "the schema was changed by somebody else since"
    return ""


def attempts(results: tuple[StepResult, ...]) -> tuple[StepResult, ...]:
    """Return each step that any run of a unit attempted, the last one first.

    A step that several runs attempted has the evidence of the first: what served before the unit.
    """
    first: dict[StepName, StepResult] = {}
    for result in results:
        if not result.undo:
            known = first.get(result.step)
            if known is None or (result.evidence and not known.evidence):
                first[result.step] = result
    return tuple(first[name] for name in reversed(StepName) if name in first)
