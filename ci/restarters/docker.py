"""Restarts a container by name. It keeps its image: another one needs a new container."""

import time

from ci.config import DockerRestart
from ci.errors import StepFailed
from ci.restarters import Running
from ci.restarters._container import Docker as Client

GRACE = 10  # seconds for the process to end by itself; docker's own default


def restart_command(container: str) -> tuple[str, ...]:
    """Return the command that restarts a container."""
    return ("docker", "restart", "-t", str(GRACE), container)


class Docker:
    """Runs docker restart, and proves that it did."""

    reverts = False

    def __init__(self, config: DockerRestart) -> None:
        self.config = config
        self.name = f"docker {config.container}"
        self.client = Client(config.host)

    def running(self) -> Running:
        """Return the container's start."""
        now = self.client.inspect(self.config.container)
        return Running(instance=now.instance, detail=now.status)

    def restart(self) -> Running:
        """Return when a new start has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self.client.inspect(self.config.container)
        self.client.run(
            restart_command(self.config.container), within=self.config.within.seconds + GRACE
        )
        return self.client.prove(
            self.config.container, before, settle=self.config.settle, deadline=deadline
        )

    def revert(self, to: Running) -> Running:  # noqa: ARG002  # the protocol's form
        """Refuse: docker restart keeps the image."""
        raise StepFailed(
            f"{self.name} cannot go back to an earlier version",
            state="it runs the image it was made from",
            next_step="make the container anew from the earlier image",
        )

    def check(self) -> str:
        """Return the container's state; StepFailed where there is none."""
        return f"container {self.config.container} {self.running().detail}"
