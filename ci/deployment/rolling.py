"""Restarts a service's members a batch at a time: proven and smoke-tested before the next begins.

What is begun and what is proven is a marker in the database, so that a run that goes on after a
kill restarts what is left, and the way back restarts what was restarted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ..config.secretplaces import without_userinfo
from ..config.sections import SmokeConfig
from ..database import markers
from ..errors import StepFailed, WindlassError
from ..model import Evidence
from ..plan import probe, rolling
from ..plan.rolling import Mark, Seen
from ..restarters import Restarter, Running
from ..restarters.several import Part, Several, batches, first_failure, restart_batch
from .restarting import Announcer
from .work import Work


@dataclass
class Rolling:
    """One restart of several members, or its way back, while it lasts."""

    work: Work
    several: Several
    marks: dict[str, Mark]
    done: list[str] = field(default_factory=list)  # members, in the order of their restarts
    lines: list[tuple[str, str]] = field(default_factory=list)  # evidence

    def forward(self) -> Running:
        """Restart every member that is left, in order; the first failure stops the rest.

        Raises:
            StepFailed: a member is not proven, fails its smoke tests, or too many requests were
                lost.

        """
        left = [part for part in self.several.parts if not self._is_done(part)]
        for batch in batches(left, self.several.batch):
            self._batch(batch)
            if batch[-1] is not left[-1]:
                self._require_few_lost()
        return self._running(f"{len(self.done)} of {len(self.several.parts)} members restarted")

    def back(self) -> Running:
        """Restart the members that were restarted, the last first; one that fails stops no other.

        Raises:
            StepFailed: one or several did not come up; names each.

        """
        begun = [part for part in reversed(self.several.parts) if part.name in self.marks]
        failures: list[tuple[str, WindlassError]] = []
        for part in begun:
            try:
                self._batch((part,))
                self._forget(part)
            except WindlassError as error:
                failures.append((part.name, error))
        if failures:
            names = ", ".join(name for name, _ in failures)
            first = failures[0][1]
            back = f"restarted on the way back: {', '.join(self.done) or 'none'}"
            raise StepFailed(
                f"{len(failures)} of {len(begun)} members did not come up on the way back: "
                f"{names}; {first.message}",
                state="; ".join(part for part in (first.own, back) if part),
                next_step=first.next_step,
            ) from first
        return self._running(f"{len(begun)} of {len(self.several.parts)} members restarted back")

    def _is_done(self, part: Part) -> bool:
        """Tell whether an earlier run of this unit has restarted it; then say so."""
        mark = self.marks.get(part.name)
        if mark is None or not mark.instance:
            return False
        if not rolling.is_done(mark, part.restarter.running().instance):
            return False
        self.done.append(part.name)
        self.lines.append(("member", f"{part.name}: restarted by an earlier run of this unit"))
        self.work.reporter.note(f"{part.name} was restarted by an earlier run, and serves")
        return True

    def _batch(self, batch: Sequence[Part]) -> None:
        self.work.guard()
        begun = self.work.watch.moment()
        for part in batch:
            self._mark(part)
        outcomes = restart_batch(batch, Announcer(self.work))
        error = first_failure(batch, outcomes)
        if error is not None:
            raise error
        told = self._smoke(batch)
        lost = self.work.watch.counted(since=begun)
        for part, running in zip(batch, outcomes, strict=True):
            assert isinstance(running, Running)  # noqa: S101  # no failure among them
            self._mark(part, running.instance)
            self.done.append(part.name)
            text = "; ".join(each for each in (running.detail, told, str(lost or "")) if each)
            self.lines.append(("member", f"{part.name}: {text}"))
            self.work.reporter.note(f"{part.name}: {text}")

    def _smoke(self, batch: Sequence[Part]) -> str:
        """Run the smoke tests of each member, or of the whole service; say which."""
        from ..smoke import run_checks  # requests takes 0.1 s to import

        smoke = self.work.settings.environment.smoke
        if smoke is None:
            return "not smoke-tested: deploy.yml has no smoke tests"
        own = all(part.member.address for part in batch)
        if self.work.goes_back and not own:
            return ""  # members that are not back yet may not serve: the whole is tested behind all
        for part in batch:
            config = self._smoke_of(smoke, part)
            try:
                run_checks(config, progress=lambda _done, _total: None)
            except WindlassError as error:
                raise StepFailed(
                    f"{part.name} fails its smoke tests: {error.message}",
                    state=error.given_state,
                    next_step=error.next_step,
                ) from error
        return "smoke-tested" if own else f"smoke-tested by {without_userinfo(smoke.base_url)}"

    def _smoke_of(self, smoke: SmokeConfig, part: Part) -> SmokeConfig:
        return msgspec.structs.replace(smoke, base_url=part.member.address or smoke.base_url)

    def _require_few_lost(self) -> None:
        restart = self.work.settings.environment.restart
        limit = restart.lost_at_most if restart is not None else None
        counted = self.work.watch.counted()
        if counted is not None and probe.exceeds(counted, limit):
            raise StepFailed(
                f"the service {counted} so far, and restart.lost_at_most is {limit}",
                state="",
                next_step="find out what takes the traffic to a member that restarts; or raise "
                "restart.lost_at_most",
            )

    def _mark(self, part: Part, instance: str = "") -> None:
        detail = rolling.detail(part.name, self.work.intended, instance)
        key = markers.announce(self.work.database, rolling.KIND, detail)
        before = self.marks.get(part.name, Mark(part.name, ()))
        self.marks[part.name] = Mark(part.name, (*before.keys, key), instance)

    def _forget(self, part: Part) -> None:
        for key in self.marks.pop(part.name).keys:
            markers.clear(self.work.database, key)

    def _running(self, words: str) -> Running:
        running = self.several.running()
        names = f": {', '.join(self.done)}" if self.done else ""
        return msgspec.structs.replace(running, detail=f"{words}{names}")


def restart(work: Work, restarter: Restarter) -> tuple[Running, Evidence]:
    """Restart the service; of several members those that are left, or on the way back were begun.

    Returns what serves then, and a piece of evidence for each member.
    """
    if not isinstance(restarter, Several):
        return restarter.restart(Announcer(work)), ()
    seen, foreign = _read(work)
    for key in foreign:
        markers.clear(work.database, key)
    run = Rolling(work, restarter, {mark.member: mark for mark in seen})
    running = run.back() if work.goes_back else run.forward()
    return running, tuple(run.lines)


def stands(work: Work, several: Several) -> str:
    """Say which version runs on which member, as it is read now."""
    return rolling.told([_seen(part) for part in several.parts], _read(work)[0])


def _seen(part: Part) -> Seen:
    try:
        return Seen(part.name, part.restarter.running().instance)
    except WindlassError as error:
        return Seen(part.name, problem=error.message)


def forget(work: Work) -> None:
    """Clear what the members' markers say, once the unit is done."""
    if isinstance(work.restarter, Several):
        seen, foreign = _read(work)
        for key in (*(key for mark in seen for key in mark.keys), *foreign):
            markers.clear(work.database, key)


def doubt(work: Work) -> None:
    """Take back what proves the members: a person may install something else before the next run.

    That they were begun stays: a way back of the unit restarts them.
    """
    if isinstance(work.restarter, Several):
        for mark in _read(work)[0]:
            if mark.instance:
                begun = rolling.detail(mark.member, work.intended)
                markers.announce(work.database, rolling.KIND, begun)
                for key in mark.keys:
                    markers.clear(work.database, key)


def _read(work: Work) -> tuple[tuple[Mark, ...], tuple[str, ...]]:
    known = work.database.read("marker", markers.read)
    return rolling.marks(known, (*work.chain, work.deployment_id), work.intended)
