"""Restarts several members of a service in order, a batch at a time, each by its own driver."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .. import process
from ..config.members import Member
from ..config.sections import RollingRestart
from ..errors import StepFailed, WindlassError
from . import Restarter, Running

Config = TypeVar("Config", bound=RollingRestart)
Narrowed = TypeVar("Narrowed", bound=RollingRestart, covariant=True)


class _Section(Protocol[Narrowed]):
    """A section of deploy.yml that can be narrowed to one member."""

    @property
    def members(self) -> tuple[Member, ...]: ...

    @property
    def batch(self) -> int: ...

    def of(self, member: Member) -> Narrowed: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A member, and the driver that restarts it alone."""

    member: Member
    restarter: Restarter

    @property
    def name(self) -> str:
        """What people see."""
        return self.member.name


class Several:
    """Members in order. The first failure stops the rest."""

    def __init__(self, kind: str, parts: Sequence[Part], batch: int) -> None:
        self.parts, self.batch = tuple(parts), batch
        self.name = f"{kind} {', '.join(part.name for part in parts)}"

    def running(self) -> Running:
        """Return what serves on every member; an empty instance where none does."""
        seen = [(part, part.restarter.running()) for part in self.parts]
        up = [(part, running) for part, running in seen if running.instance]
        return Running(
            instance=" ".join(f"{part.name}={running.instance}" for part, running in up),
            image=next((running.image for _, running in up if running.image), ""),
            detail=", ".join(f"{part.name} {running.detail}" for part, running in seen),
        )

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Restart every member, and return when each is a new one that stays."""
        done: list[str] = []
        for batch in batches(self.parts, self.batch):
            outcomes = restart_batch(batch, announce)
            error = first_failure(batch, outcomes)
            if error is not None:
                raise error
            done += [part.name for part in batch]
        running = self.running()
        return Running(
            instance=running.instance,
            image=running.image,
            detail=f"{len(done)} members restarted: {', '.join(done)}",
        )

    def check(self) -> str:
        """Return what was found of every member; raises for the first that cannot be restarted."""
        return ", ".join(
            f"{part.member.host}: {text}" if part.member.host else text
            for part in self.parts
            for text in (part.restarter.check(),)
        )


def several(kind: str, config: _Section[Config], driver: Callable[[Config], Restarter]) -> Several:
    """Return the restarter of a section's members, each with a driver of its own."""
    parts = [Part(member, driver(config.of(member))) for member in config.members]
    return Several(kind, parts, config.batch)


def batches(parts: Sequence[Part], size: int) -> tuple[tuple[Part, ...], ...]:
    """Return the members in order, so many at a time."""
    return tuple(tuple(parts[at : at + size]) for at in range(0, len(parts), size))


def restart_batch(
    batch: Sequence[Part], announce: process.Announce
) -> tuple[Running | WindlassError, ...]:
    """Restart the members of a batch at once; return what each came to, in their order.

    An interrupt is raised at once. What was announced then lives on, as after a kill.
    """
    outcomes: dict[int, Running | BaseException] = {}

    def restart(number: int) -> None:
        try:
            outcomes[number] = batch[number].restarter.restart(announce)
        except BaseException as error:  # noqa: BLE001  # looked at below, in the caller's thread
            outcomes[number] = error

    threads = [
        threading.Thread(target=restart, args=(number,), daemon=True, name=f"restarts {part.name}")
        for number, part in enumerate(batch[1:], start=1)
    ]
    for thread in threads:
        thread.start()
    restart(0)
    if not isinstance(outcomes[0], Running | WindlassError):
        raise outcomes[0]
    for thread in threads:
        thread.join()
    for outcome in outcomes.values():
        if not isinstance(outcome, Running | WindlassError):
            raise outcome
    return tuple(outcomes[number] for number in range(len(batch)))  # type: ignore[misc]  # see above


def first_failure(
    batch: Sequence[Part], outcomes: Sequence[Running | WindlassError]
) -> StepFailed | None:
    """Return the first error of a batch, with its member's name; None: there is none."""
    for part, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, WindlassError):
            error = StepFailed(
                f"{part.name}: {outcome.message}",
                state=outcome.given_state,
                next_step=outcome.next_step,
            )
            error.__cause__ = outcome
            return error
    return None
