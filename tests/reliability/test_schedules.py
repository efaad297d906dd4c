"""Random schedules of three runners that meet each other, kills and faults, against a model.

The suite plays a few; `make reliability` plays a thousand, or as many as its time allows. The seed
is printed; WINDLASS_SEED=N WINDLASS_PARTS=1 plays the same ones again.
"""

import os
import secrets
import sys
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.kit import Ran
from tests.reliability import cells
from tests.reliability.cluster import until
from tests.reliability.facts import LOCKS, facts
from tests.reliability.faults import TERMINATE
from tests.reliability.model import Command, Model, State, Unit
from tests.reliability.project import NAMES
from tests.reliability.run import Run
from tests.reliability.stops import STEP, Halt
from tests.reliability.world import World

WHOLE = bool(os.environ.get("WINDLASS_RELIABILITY"))
SCHEDULES = int(os.environ.get("WINDLASS_SCHEDULES", "1000" if WHOLE else "2"))
BUDGET = float(os.environ.get("WINDLASS_BUDGET", "1500"))  # seconds for each part
PARTS = int(os.environ.get("WINDLASS_PARTS", "4" if WHOLE else "1"))  # at the same time
SEED = int(os.environ.get("WINDLASS_SEED", secrets.randbelow(10**6) if WHOLE else "15"))
RUNNERS = ("A", "B", "C")
# What a run passes under the lock, around each of its effects.
EFFECTS = (
    r"sql (insert into (counts|schema_migrations|windlass\.(deployment|correction))"
    r"|update (counts|windlass\.deployment set finished_at = %s)|delete from schema_migrations"
    r"|create database|alter database|create index|drop index)"
)
PLACE = cells.Verb(
    name="schedule",
    arguments=(),
    stage="nothing",
    files=(1, 2),
    ends=(),
    places=(),
)
KINDS = os.environ.get("WINDLASS_KINDS", "deploy,migrate,rollback,backup,restore").split(",")
COMMANDS = st.sampled_from(
    [
        command
        for command in (
            Command("deploy"),
            Command("migrate", 1),
            Command("migrate", 2),
            Command("rollback", 1),
            Command("rollback", 2),
            Command("backup"),
            Command("restore"),
        )
        if command.kind in KINDS
    ]
)


class TimeIsOver(BaseException):
    """No further schedule begins; Hypothesis takes only an `Exception` for what a test shows."""


class Schedule(RuleBasedStateMachine):
    """Three runners, one environment, and what happens to them."""

    parts: World
    until = 0.0  # when no further schedule begins
    played = 0
    broken = False  # one did not hold: it is made short, whatever the time

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.runs: dict[str, Run] = {}
        if time.monotonic() > self.until and not self.broken:
            raise TimeIsOver
        type(self).played += 1
        self.parts.reset(PLACE)

    @initialize(files=st.integers(2, 3))
    def files(self, files: int) -> None:
        for number in range(3, files + 1):
            self._file(number)

    @precondition(lambda self: self.model.files < 4)
    @rule()
    def a_migration_is_added(self) -> None:
        self._file(self.model.files + 1)

    @rule(runner=st.sampled_from(RUNNERS), command=COMMANDS, passes=st.integers(1, 10))
    def a_run_begins(self, runner: str, command: Command, passes: int) -> None:
        """Begin a run; it stops at one of its effects, or ends."""
        if runner in self.runs or not self._makes_sense(command):
            return
        others = set(self.runs) - self.model.hit
        if not others:  # what they have committed stays, whoever goes on with it
            self.model.state, _ = self._read()
        unit = self.model.begin(runner, command)
        run = self.parts.begin(self._words(command), Halt(EFFECTS, passes))
        if run.stopped():
            assert not others, f"two runs hold the lock: {others} and {runner}"
            self.runs[runner] = run
        else:
            self._ended(runner, unit, run.end(30))

    @precondition(lambda self: bool(self.runs))
    @rule(data=st.data(), passes=st.integers(1, 6))
    def a_run_goes_on(self, data: st.DataObject, passes: int) -> None:
        runner = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[runner]
        for _ in range(passes):
            run.go_on(STEP)
            if not run.stopped():
                del self.runs[runner]
                self._ended(runner, self.model.running[runner], run.end(30))
                return

    @precondition(lambda self: bool(self.runs))
    @rule(data=st.data())
    def a_run_is_killed(self, data: st.DataObject) -> None:
        runner = data.draw(st.sampled_from(sorted(self.runs)))
        self.runs.pop(runner).kill()
        self.model.kill(runner)
        self._settled()

    @precondition(lambda self: bool(self.runs))
    @rule(restart=st.booleans())
    def the_sessions_end(self, restart: bool) -> None:
        if restart:
            self.parts.current.restart("fast")
        else:
            self.parts.current.execute(TERMINATE)
        self.model.hit |= set(self.runs)

    @precondition(lambda self: not self.runs and self.model.killed is not None)
    @rule()
    def it_is_gone_on_with(self) -> None:
        """Run the command of a killed unit again: it ends where that was to end."""
        unit = self.model.killed
        assert unit is not None
        ran = self.parts.windlass(*self._words(unit.command))
        again = self.model.begin("A", unit.command)
        self._ended("A", again, ran)
        assert ran.code == 0, ran.err

    @invariant()
    def what_is_applied_is_what_may_be(self) -> None:
        state, counts = self._read()
        assert state in self.model.may_be(), f"{state} is none of {self.model.may_be()}"
        twice = {name: n for name, n in counts.items() if n not in (0, 1)}
        assert not twice, f"ran or was undone twice: {twice}"
        if not self.runs:
            free = until(lambda: not self.parts.current.execute(LOCKS), 5)
            assert free, self.parts.current.execute(LOCKS)

    def teardown(self) -> None:
        """Kill what runs; the next ones lead to a good end."""
        error = sys.exc_info()[1]
        failed = error is not None
        # Hypothesis ends a schedule by a `BaseException`: that is no break.
        type(self).broken |= isinstance(error, Exception)
        for runner in sorted(self.runs):
            self.runs.pop(runner).kill()
            self.model.kill(runner)
        if failed:
            return
        try:
            self._all_ends_well()
        except BaseException:
            type(self).broken = True
            raise

    def _all_ends_well(self) -> None:
        self._settled()
        if self.model.killed is not None:
            self.it_is_gone_on_with()
        ran = self.parts.windlass("deploy", "--env", "dev")
        assert ran.code == 0, ran.err
        state, counts = self._read()
        assert state == tuple(range(1, self.model.files + 1)), state
        assert counts == {f"m{n}": 1 for n in state}, counts

    def _file(self, number: int) -> None:
        self.parts.site.add(number)
        self.model.files = max(self.model.files, number)

    def _makes_sense(self, command: Command) -> bool:
        """Tell whether a command has anything to do now."""
        match command.kind:
            case "rollback":
                return len(self.model.state) >= command.steps
            case "migrate":
                return self.model.files > len(self.model.state)
            case "restore":
                return self.model.saved is not None
            case _:
                return True

    def _words(self, command: Command) -> tuple[str, ...]:
        words: tuple[str, ...] = (command.kind, "--env", "dev")
        if command.steps:
            words += ("--steps", str(command.steps))
        if command.number:
            words += ("--name", NAMES[command.number - 1], "--reason", "by-hand")
        return words

    def _read(self) -> tuple[State, dict[str, int]]:
        now = facts(self.parts)
        return tuple(int(name[1:]) for name in now.history), dict(now.counts)

    def _ended(self, runner: str, unit: Unit, ran: Ran) -> None:
        """Compare the end of a run with what its unit promised."""
        model = self.model
        state, _ = self._read()
        assert ran.code in (0, 1, 3), ran.err
        if ran.code == 0:
            assert state in model.good_ends(unit), (
                f"{unit.command} ended in {state}, not in {model.good_ends(unit)}\n{ran.err}"
            )
            if unit.command.kind == "backup":
                model.saved = state
            else:
                model.killed = model.failed = None
        else:
            assert state in model.may_be(), f"{state} is none of {model.may_be()}\n{ran.err}"
            if ran.code == 3:
                assert model.running.keys() != {runner} or state == model.state, ran.err
            elif state != model.state:
                model.failed = unit
        model.running.pop(runner)
        model.hit.discard(runner)
        model.state = state

    def _settled(self) -> None:
        """Take over what a killed run has committed, once the server has noticed its end."""
        if not self.runs:
            until(lambda: not self.parts.current.execute(LOCKS), 10)
        state, _ = self._read()
        unit = self.model.killed
        states = self.model.may_be() | (set(unit.path) if unit is not None else set())
        assert state in states, f"{state} is none of {states}"
        self.model.state = state


@pytest.mark.timeout(BUDGET + 300)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_schedules_of_three_runners(part: int, parts: World) -> None:
    Schedule.parts, Schedule.until, Schedule.played = parts, time.monotonic() + BUDGET, 0
    begun, number = time.monotonic(), SEED + part
    try:
        with suppress(TimeIsOver):
            run_state_machine_as_test(
                seed(number)(Schedule),
                settings=settings(
                    max_examples=SCHEDULES // PARTS,
                    stateful_step_count=8,
                    deadline=None,
                    database=None,
                    phases=(Phase.generate, Phase.shrink) if WHOLE else (Phase.generate,),
                    suppress_health_check=list(HealthCheck),
                    verbosity=Verbosity.normal,
                    print_blob=False,
                ),
            )
    except FlakyStrategyDefinition:  # how Hypothesis sees that our time is over
        if Schedule.broken or time.monotonic() < Schedule.until:
            raise
    finally:
        took = time.monotonic() - begun
        # Past pytest-xdist, which keeps what its workers print.
        sys.stderr.write(f"\nseed {number}: {Schedule.played} schedules in {took:.0f} s\n")
