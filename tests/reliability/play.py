"""Plays a cell: a run that is hit, what it says, the command that it names, what is left."""

from contextlib import ExitStack

from tests.kit import Ran
from tests.reliability import words
from tests.reliability.cells import HOLE, KILL, READ_ONLY, Cell, Verb
from tests.reliability.cluster import until
from tests.reliability.facts import LOCKS, facts, leftovers
from tests.reliability.faults import CLOCKS, hit
from tests.reliability.state import Facts
from tests.reliability.stops import Halt
from tests.reliability.world import World

AT_MOST = 3  # commands after the one that was hit
HUNG = -99
# A run that waits for longer than all its own deadlines together hangs.
WITHIN = 200.0
DEAD_WITHIN = 45.0  # seconds in which a server ends the sessions of a client that is gone


def play(cell: Cell, world: World) -> list[str]:
    """Play one cell, and return what does not hold."""
    world.reset(cell.verb, cell.fault)
    try:
        return _played(cell, world)
    finally:
        world.settle()


def _played(cell: Cell, world: World) -> list[str]:
    _prepare(cell, world)
    before = world.began = facts(world)
    arguments = _arguments(cell.verb, before)
    reached, ran = _hit(cell, arguments, world)
    world.outputs = [ran]
    if not reached:
        return [f"the run does not come by “{cell.place.name}” (exit {ran.code})"]
    problems = ["the run hangs"] if ran.code == HUNG else []
    if ran.code not in (HUNG, -9):
        problems += _said(ran, before, world, arguments)
    if cell.fault is HOLE and not until(lambda: not world.current.execute(LOCKS), DEAD_WITHIN):
        problems.append(f"the lock of a run that is gone is held for {DEAD_WITHIN:.0f} s")
    if ran.code != 0:
        problems += _gone_on(ran, arguments, world)
    elif cell.fault in (READ_ONLY, HOLE):  # it could not clear its marker: the next one does
        problems += _one_more(world, "backup", "--env", "uat")
    problems += _end(cell.verb, before, world)
    if cell.fault in CLOCKS:
        problems += _next_one(cell.verb, world)
    return problems


def _prepare(cell: Cell, world: World) -> None:
    if cell.fault.group == "standby":
        world.fail_over_later()
    if cell.verb.sick:
        world.service.become("sick")
    if cell.fault is KILL and "restart.py" in cell.place.pattern:
        (world.site.home / "slow").touch()  # the next one begins while it runs


def _hit(cell: Cell, arguments: tuple[str, ...], world: World) -> tuple[bool, Ran]:
    """Run until the place, let the fault happen, and wait for the end; tell whether it came by."""
    halt = Halt(cell.place.pattern, cell.place.number, CLOCKS.get(cell.fault, 0.0))
    with ExitStack() as healing:
        run = world.begin(arguments, halt)
        reached = run.stopped()
        if reached:
            hit(cell.fault, world, run, healing)
        ran = run.end(WITHIN)
    if cell.verb.sick:
        world.service.become("ok")
    return reached, ran


def _said(ran: Ran, before: Facts, world: World, arguments: tuple[str, ...]) -> list[str]:
    now = facts(world)
    compared = words.Before(world.began, before, now, world.service.mode == "ok")
    return [f"{text} ({arguments[0]})" for text in words.problems(ran, compared)]


def _arguments(verb: Verb, before: Facts) -> tuple[str, ...]:
    last = next((key for key, _ in reversed(before.deployments)), "")
    return tuple(last if word == "LAST" else word for word in verb.arguments)


def _next_one(verb: Verb, world: World) -> list[str]:
    """Run what anybody runs next, by a clock that is right."""
    world.site.add(6)
    return _one_more(world, *(verb.then or ("deploy", "--env", "uat")))


def _one_more(world: World, *arguments: str) -> list[str]:
    ran = world.windlass(*arguments)
    world.outputs.append(ran)
    error = words.told(ran)
    return [] if ran.code == 0 else [f"the next one fails: {error.what if error else ran.code}"]


def _gone_on(ran: Ran, arguments: tuple[str, ...], world: World) -> list[str]:
    """Run what the message names, or else the same command, until it ends well."""
    problems: list[str] = []
    for _ in range(AT_MOST):
        error = words.told(ran)
        command = words.named_command(error.next_step, arguments) if error else arguments
        before = facts(world)
        ran = world.windlass(*command)
        world.outputs.append(ran)
        if ran.code == 0:
            return problems
        problems += [f"then: {text}" for text in _said(ran, before, world, command)]
        if ran.code == HUNG:
            break
    error = words.told(ran)
    return [*problems, f"no command leads on: {error.what if error else ran.code}"]


def _end(verb: Verb, before: Facts, world: World) -> list[str]:
    """Return what is not as it has to be in the end."""
    now = facts(world)
    problems = leftovers(world, verb)
    if verb.makes and verb.makes not in now.databases:
        problems.append(f"there is no database {verb.makes}")
    if now.history not in verb.ends:
        problems.append(f"the history ends as {' '.join(now.history) or 'empty'}")
    by_hand = "by-hand" in verb.arguments
    wanted = before.counts if by_hand else tuple((name, 1) for name in now.history)
    if now.counts != wanted:
        problems.append(f"migrations ran as often as {dict(now.counts)}")
    if now.kept != before.kept:
        problems.append("rows that stood before are lost")
    if verb.approved and now.approvals != 1:
        problems.append(f"the approval is used {now.approvals} times")
    if verb.nameless and now.project != "shop":
        problems.append(f"the database says that it is of {now.project or 'nobody'}")
    if verb.stage != "empty" and not before.backups & now.backups:
        problems.append("every backup from before is gone")
    return problems
