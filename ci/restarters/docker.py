"""Restarts a container by name. It keeps its image: another one needs a new container."""

import time

from .. import process
from ..config.sections import DockerRestart
from ..errors import StepFailed
from . import Running
from ._container import Client, ContainerState, as_running, grace_seconds


def restart_command(container: str, *, grace: int) -> tuple[str, ...]:
    """Return the command that restarts a container, killing it after `grace` seconds."""
    return ("docker", "restart", "-t", str(grace), container)


class Docker:
    """Runs docker restart, and verifies a new start."""

    def __init__(self, config: DockerRestart) -> None:
        self.config = config
        self.name = f"docker {config.container}"
        self.client = Client(config)

    def running(self) -> Running:
        """Return the container's start; its instance is empty where there is no container."""
        return as_running(self.client.look([self.config.container]))

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Return when a new start has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self._require()
        room = self.config.within.seconds - self.config.settle.seconds
        grace = grace_seconds([state.stop_timeout for state in before], room=room)
        argv = restart_command(self.config.container, grace=grace)
        self.client.restart(argv, before, deadline=deadline, announce=announce)
        return self.client.wait_until_up([self.config.container], before, deadline=deadline)

    def check(self) -> str:
        """Return the container's state; StepFailed where there is none."""
        return f"container {self.config.container} {as_running(self._require()).detail}"

    def _require(self) -> tuple[ContainerState, ...]:
        states = self.client.look([self.config.container])
        if not states:
            raise StepFailed(
                f"the container {self.config.container} does not exist",
                state="nothing was restarted",
                next_step=self.client.command_line("docker", "ps", "--all"),
            )
        return states
