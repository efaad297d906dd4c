"""What has to be so of an environment whatever happens to its runners: a model without effects.

A state is the tuple of the numbers of the applied migrations. A command goes along a path of
states, one migration at a time; where it is killed, the state is one on its path.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

State = tuple[int, ...]
Kind = Literal["deploy", "migrate", "rollback", "stamp", "unstamp", "backup", "restore"]


@dataclass(frozen=True)
class Command:
    """What a person types; `steps` is of migrate and rollback, `number` of stamp and unstamp."""

    kind: Kind
    steps: int = 0
    number: int = 0


@dataclass(frozen=True)
class Unit:
    """A command that began: where it came from, and where it has to lead."""

    command: Command
    path: tuple[State, ...]
    number: int = 0  # in the order in which they began
    files: int = 0  # how many there were

    @property
    def end(self) -> State:
        return self.path[-1]


def path(command: Command, state: State, files: int, saved: State | None) -> tuple[State, ...]:
    """Return the states that a command goes through from one state, both ends included."""
    pending = [number for number in range(1, files + 1) if number not in state]
    match command.kind:
        case "deploy":
            return _upwards(state, pending)
        case "migrate":
            return _upwards(state, pending[: command.steps])
        case "rollback":
            ends = [state[: len(state) - n] for n in range(command.steps + 1)]
            return tuple(ends)
        case "stamp":
            return state, tuple(sorted({*state, command.number}))
        case "unstamp":
            return state, tuple(n for n in state if n != command.number)
        case "restore":
            return state, (state if saved is None else saved)
        case "backup":
            return (state,)


def _upwards(state: State, numbers: Iterable[int]) -> tuple[State, ...]:
    states = [state]
    for number in numbers:
        states.append(tuple(sorted({*states[-1], number})))
    return tuple(states)


@dataclass
class Model:
    """What the environment has to be like now."""

    files: int = 2
    state: State = ()
    saved: State | None = None  # what the newest backup holds
    killed: Unit | None = None  # a unit that was begun and has no end
    failed: Unit | None = None  # one that ended with an error
    running: dict[str, Unit] = field(default_factory=dict)  # by runner
    hit: set[str] = field(default_factory=set)  # runners whose sessions were ended
    begun: int = 0

    def begin(self, runner: str, command: Command) -> Unit:
        """Return the unit that a command is: the open one again, or a new one."""
        states = path(command, self.state, self.files, self.saved)
        if self.killed is not None and self.killed.command == command:
            states = (self.state, *_behind(self.killed.path, self.state))
        self.begun += 1
        self.running[runner] = unit = Unit(command, states, self.begun, self.files)
        return unit

    def kill(self, runner: str) -> None:
        """Note that a run was killed: its unit is open, unless one that began later is."""
        unit = self.running.pop(runner)
        self.hit.discard(runner)
        later = self.killed is None or self.killed.number < unit.number
        if later and unit.command.kind in ("deploy", "migrate", "rollback", "restore"):
            self.killed, self.failed = unit, None

    def may_be(self) -> set[State]:
        """Return every state that the database may be in now."""
        states = {self.state}
        for unit in self.running.values():
            states |= set(_behind(unit.path, self.state)) | {self.state}
        return states

    def good_ends(self, unit: Unit) -> set[State]:
        """Return the states in which a command may have ended with exit 0."""
        if unit.command.kind == "deploy":  # everything that was there when it looked
            counts = range(unit.files, self.files + 1)
            return {path(unit.command, self.state, count, self.saved)[-1] for count in counts}
        ends = {unit.end}
        others = [each for each in self._open() if each != unit]
        if any(each.command != unit.command for each in others):
            ends |= {path(unit.command, self.state, self.files, self.saved)[-1]}
        for each in others:  # it was gone on with, or taken back, before
            ends |= {each.end} | ({each.path[0]} if each.command != unit.command else set())
        if self.failed is not None and self.failed.command == unit.command:
            ends |= {self.failed.end}
        return ends

    def _open(self) -> list[Unit]:
        """Return the units that the next run may go on with: what was killed, or lost its lock."""
        killed = [self.killed] if self.killed is not None else []
        return killed + [self.running[runner] for runner in sorted(self.hit)]


def _behind(states: tuple[State, ...], state: State) -> tuple[State, ...]:
    """Return what a path has behind a state; all of it where it does not come by that."""
    return states[states.index(state) + 1 :] if state in states else states
