"""Corrections of the history: explicit names, old and new shown, who and why recorded.

They change what Windlass believes, never what is in the database.
"""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from ..errors import ConfigError, Refused
from ..model import Applied, Migration, Plan
from ..plan.states import MigrationState, State, built_on, compare, is_graph, up_to
from . import identity, orders, settle
from .contents import take_sources
from .facts import Recorded, take_facts
from .observed import told
from .orders import Proposal, Request
from .work import Work

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of what a correction would do."""

    migration: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.migration}: {self.before} → {self.after}"


Find = Callable[[Work, Recorded, tuple[str, ...]], tuple[Change, ...]]


def stamp(work: Work, history: Recorded, names: tuple[str, ...]) -> tuple[Change, ...]:
    """Record migrations as applied that were applied in another way."""
    files, states = _known(work, history, names)
    for name in names:
        _require(
            work.settings.name,
            states[name],
            State.PENDING,
            State.OUT_OF_ORDER,
            State.PARTIAL,
            State.FAILED,
        )
    _refuse_gaps(work, history, names)
    return tuple(Change(n, states[n].detail or PENDING, files[n].checksum) for n in names)


def baseline(work: Work, history: Recorded, names: tuple[str, ...]) -> tuple[Change, ...]:
    """Record every migration up to the named one as applied, in a database without a history."""
    files, _ = _known(work, history, names)
    selected = up_to(work.engine.files.list(), names)
    if history.applied or history.partials:
        raise Refused(
            f"{work.database.name} has a history of {len(history.applied)} migrations already",
            next_step="a baseline begins a history; stamp adds to one: invoke stamp --name NAME",
        )
    return tuple(
        Change(n, PENDING, migration.checksum) for n, migration in files.items() if n in selected
    )


def unstamp(work: Work, history: Recorded, names: tuple[str, ...]) -> tuple[Change, ...]:
    """Take the records of migrations away, which makes them pending again."""
    rows, partials = {r.name: r for r in history.applied}, {p.name: p for p in history.partials}
    before = {name: str(half) for name, half in partials.items()}
    before |= {failure.name: str(State.FAILED) for failure in history.failed}
    before |= {name: _checksum(row) for name, row in rows.items()}
    for name in names:
        if name not in before:
            raise Refused(
                work.engine.names.never_ran(name),
                next_step=f"invoke status --env {work.settings.name} lists it",
            )
    _refuse_below_others(work, rows, names)
    return tuple(Change(name, before[name], PENDING) for name in names)


def repair(work: Work, history: Recorded, names: tuple[str, ...]) -> tuple[Change, ...]:
    """Accept the text of edited files as what ran."""
    files, states = _known(work, history, names)
    rows = {row.name: row for row in history.applied}
    for name in names:
        _require(work.settings.name, states[name], State.EDITED, State.PARTIAL)
    return tuple(
        Change(n, _checksum(rows[n]) if n in rows else states[n].detail, files[n].checksum)
        for n in names
    )


def _refuse_gaps(work: Work, history: Recorded, names: tuple[str, ...]) -> None:
    """Refuse to record a revision of a graph without those it builds on: the tool implies them."""
    on_disk = work.engine.files.list()
    if not is_graph(on_disk):
        return
    recorded = {row.name for row in history.applied} | set(names)
    missing = [
        m.name for m in on_disk if m.name in up_to(on_disk, names) and m.name not in recorded
    ]
    if missing:
        raise Refused(
            f"{names[0]} builds on {', '.join(missing)}, which is pending",
            next_step=f"deploy that first, or name it too: --name {','.join((*missing, *names))}",
        )


def _refuse_below_others(work: Work, rows: dict[str, Applied], names: tuple[str, ...]) -> None:
    on_disk = work.engine.files.list()
    for name in names:
        dependents = sorted((built_on(on_disk, name) & rows.keys()) - set(names))
        if dependents:
            raise Refused(
                f"{name} has applied revisions built on it: {', '.join(dependents)}",
                next_step=f"name those too: --name {','.join((*dependents, *names))}",
            )


VERBS: dict[str, Find] = {
    "stamp": stamp,
    "baseline": baseline,
    "unstamp": unstamp,
    "repair": repair,
}
MEANS = {
    "stamp": "record",
    "baseline": "record",
    "unstamp": "take out the record of",
    "repair": "accept the text of",
}


def propose(work: Work, request: Request) -> Proposal[tuple[Change, ...]]:
    """Propose a correction: `name` has the migrations, `reason` why. Reads only.

    Raises:
        ConfigError: no migration is named, or one has no file.
        Refused: one is not in a state that the verb is for, or the database is another
            environment's.
        PlanChanged: the plan that was made before is not what would be done.

    """
    verb = request.verb
    given = orders.names_in(request.get("name"))
    if not given:
        raise ConfigError(
            f"{verb} needs the name of a migration",
            next_step=f"invoke {verb} --env {work.settings.name} --name NAME --reason WHY",
        )
    names = _in_order(work, verb, given)
    arguments = {"name": ",".join(names), "reason": request.get("reason").strip()}

    def again() -> tuple[Plan, tuple[Change, ...]]:
        identity.require(work)  # first: of another's database its states say nothing
        facts = take_facts(work.database, work.engine.history)
        recorded = Recorded(applied=facts.history, partials=facts.partials, failed=facts.failed)
        changes = VERBS[verb](work, recorded, names)
        lines = tuple(f"{MEANS[verb]} {change}" for change in changes)
        plan = orders.order_plan(
            work, request, facts, lines, arguments=arguments, sources=take_sources(work)
        )
        return plan, changes

    return orders.propose(request, again)


def _in_order(work: Work, verb: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names as the tool calls them; those of a graph in the order it goes."""
    on_disk = work.engine.files.list()
    resolved = tuple(work.engine.names.resolve(name) for name in names)
    if is_graph(on_disk):  # its tool goes from one to the next
        resolved = tuple(m.name for m in on_disk if m.name in resolved) + tuple(
            name for name in resolved if name not in {m.name for m in on_disk}
        )
        resolved = resolved[::-1] if verb == "unstamp" else resolved
    return resolved


def require_reason(plan: Plan) -> str:
    """Return why a correction is made; ConfigError where it has no reason."""
    order = plan.correction
    reason = dict(order.arguments).get("reason", "") if order is not None else ""
    if not reason:
        verb = order.verb if order is not None else "a correction"
        raise ConfigError(f"{verb} needs a reason, which is recorded", next_step='--reason "why"')
    return reason


@told
def correct(work: Work, proposal: Proposal[tuple[Change, ...]]) -> tuple[Change, ...]:
    """Make the correction under the deployment lock, and record it; return what changed.

    Raises:
        ConfigError: there is no reason.
        NotApproved: the environment asks for an approval, and none of exactly this plan counts.
        PlanChanged: what would change is not what was planned.
        LockHeld: a deployment is running.

    """
    reason = require_reason(proposal.plan)
    order = proposal.plan.correction
    with orders.permitted(work, proposal) as permit:
        files = {migration.name: migration for migration in work.engine.files.list()}
        verb = order.verb if order else ""
        records = tuple(
            permit.correction(
                of=change.migration, before=change.before, after=change.after, reason=reason
            )
            for change in permit.found
        )

        def make(connection: psycopg.Connection) -> None:
            for change in permit.found:
                _make(work, connection, verb, change, files)

        settle.record(work, records, make, require=permit.held.require)
    return permit.found


def _make(
    work: Work,
    connection: psycopg.Connection,
    verb: str,
    change: Change,
    files: dict[str, Migration],
) -> None:
    if verb == "unstamp":
        work.engine.corrections.unstamp(connection, change.migration)
    elif verb == "repair":
        work.engine.corrections.accept(connection, files[change.migration])
    else:
        work.engine.corrections.stamp(connection, files[change.migration])


def _known(
    work: Work, history: Recorded, names: tuple[str, ...]
) -> tuple[dict[str, Migration], dict[str, MigrationState]]:
    """Return the files and the states by name; ConfigError where one of the names has no file."""
    on_disk = work.engine.files.list()
    files = {migration.name: migration for migration in on_disk}
    missing = [name for name in names if name not in files]
    if missing:
        raise ConfigError(
            work.engine.names.unknown(missing[0]),
            next_step=f"invoke status --env {work.settings.name} lists them",
        )
    states = compare(on_disk, history.applied, history.partials, history.failed)
    return files, {state.name: state for state in states}


def _require(environment: str, state: MigrationState, *allowed: State) -> None:
    if state.state not in allowed:
        words = " or ".join(map(str, allowed))
        raise Refused(
            f"{state.name} is {state.state}; expected {words}",
            next_step=f"invoke status --env {environment} shows the states",
        )


def _checksum(row: Applied) -> str:
    return row.checksum or "applied, no checksum"
