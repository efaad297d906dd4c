"""What a restarter must do, and which ones there are."""

from typing import Protocol, assert_never, runtime_checkable

import msgspec

from .. import process
from ..config.sections import (
    CommandRestart,
    ComposeRestart,
    DockerRestart,
    KubectlRestart,
    RestartConfig,
    SupervisorRestart,
    SystemdRestart,
)


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What serves now.

    `instance` differs before and after every real restart (InvocationID, StartedAt, revision);
    `version` names what `revert` can go back to, and is empty where a restarter is not Reverting.
    `image` is the container image that serves, where there is one.
    """

    instance: str
    version: str = ""
    image: str = ""
    detail: str = ""


class Restarter(Protocol):
    """Restarts a service, and verifies that it did.

    A restart is verified by a changed identity and a quiet window after it (`settle`), never by
    an exit status alone. Every failure is a `StepFailed` with the end of the service's log.
    """

    name: str  # what people see: "systemd todo-backend.service"

    def running(self) -> Running:
        """Return what serves now; a service that is down is an answer, not an error."""
        ...

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Return when a new instance has been up, unchanged, for the settle time.

        `announce` is of each command that changes the service: it outlives us if we are killed.
        """
        ...

    def check(self) -> str:
        """Return what was found, for `doctor`; raise when a restart could not work. Read-only."""
        ...


@runtime_checkable
class Reverting(Protocol):
    """Of a restarter that can put an earlier version into service; ask with isinstance."""

    def revert(self, to: Running, announce: process.Announce = process.unannounced) -> Running:
        """Return when `to.version` serves again."""
        ...


@runtime_checkable
class Looking(Protocol):
    """Of a restarter whose `check` runs a program of the project's; ask with isinstance."""

    def look(self) -> str:
        """Return what `check` would run, which is not run before an approval; raises as it does."""
        ...


def open_restarter(config: RestartConfig) -> Restarter:
    """Return the restarter `deploy.yml` asks for."""
    match config:
        case SystemdRestart():
            from .several import several
            from .systemd import Systemd

            return several("systemd", config, Systemd) if config.rolls else Systemd(config)
        case DockerRestart():
            from .docker import Docker
            from .several import several

            return several("docker", config, Docker) if config.rolls else Docker(config)
        case ComposeRestart():
            from .compose import Compose

            return Compose(config)
        case KubectlRestart():
            from .kubectl import Kubectl

            return Kubectl(config)
        case CommandRestart():
            from .command import Command

            return Command(config)
        case SupervisorRestart():
            from .supervisor import Supervisor

            return Supervisor(config)
        case _:
            assert_never(config)
