"""Restarts a service of a compose file, by the plugin or by docker-compose, whichever is there."""

import time

from ci import process
from ci.config import ComposeRestart
from ci.errors import ChildFailed, StepFailed
from ci.restarters import Running
from ci.restarters._container import Docker as Client

PROBE_WITHIN = 30.0  # seconds


def base_command(config: ComposeRestart, *, plugin: bool) -> tuple[str, ...]:
    """Return the command up to the verb; only flags that both generations know."""
    program = ("docker", "compose") if plugin else ("docker-compose",)
    project = ("-p", config.project_name) if config.project_name else ()
    return (*program, "-f", config.file, *project)


class Compose:
    """Runs compose restart, and proves on the container that it did."""

    reverts = False

    def __init__(self, config: ComposeRestart) -> None:
        self.config = config
        self.name = f"compose {config.service}"
        self.client = Client(config.host)

    def running(self) -> Running:
        """Return the start of the service's container."""
        now = self.client.inspect(self._container())
        return Running(instance=now.instance, detail=now.status)

    def restart(self) -> Running:
        """Return when a new start has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self.client.inspect(self._container())
        argv = (*self._base(), "restart", self.config.service)
        self.client.run(argv, within=self.config.within.seconds)
        return self.client.prove(
            self._container(), before, settle=self.config.settle, deadline=deadline
        )

    def revert(self, to: Running) -> Running:  # noqa: ARG002  # the protocol's form
        """Refuse: a restart keeps the image."""
        raise StepFailed(
            f"{self.name} cannot go back to an earlier version",
            state="it runs the image it was made from",
            next_step="set the earlier image in the compose file, and bring the service up",
        )

    def check(self) -> str:
        """Return the service's state; StepFailed where it has no container."""
        return f"service {self.config.service} {self.running().detail}"

    def _container(self) -> str:
        argv = (*self._base(), "ps", "-q", self.config.service)
        try:
            found = self.client.run(argv).stdout.split()
        except ChildFailed as error:
            self.client.require_daemon()
            raise self._none(error.stderr or error.what) from error
        if len(found) != 1:
            raise self._none(f"{len(found)} containers, expected one")
        return found[0]

    def _none(self, said: str) -> StepFailed:
        return StepFailed(
            f"service {self.config.service} of {self.config.file}: {said}",
            state="nothing was restarted",
            next_step=f"docker-compose -f {self.config.file} up -d {self.config.service}",
        )

    def _base(self) -> tuple[str, ...]:
        # docker-compose 1 prints its usage for a flag it does not know, does nothing, exits 0:
        # so ask which one is there, instead of trying flags.
        try:
            probe = process.run(("docker", "compose", "version"), within=PROBE_WITHIN, check=False)
            plugin = probe.code == 0
        except ChildFailed:  # no docker client at all; docker-compose brings its own
            plugin = False
        return base_command(self.config, plugin=plugin)
