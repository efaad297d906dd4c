"""Restarts a service of a compose file, by the plugin or by docker-compose, whichever is there."""

import shutil
import time
from functools import cached_property

from .. import process
from ..config.sections import ComposeRestart
from ..errors import ChildFailed, StepFailed
from . import Running
from ._container import Client, ContainerState, as_running, grace_seconds

PROBE = ("docker", "compose", "version")
PROBE_WITHIN = 30.0  # seconds; it asks the client only, never the daemon


# docker-compose 1 prints its usage for a flag it does not know, does nothing, and exits 0. So
# every flag below is one that both generations know, and no flag is ever tried out.


def base_command(config: ComposeRestart, *, plugin: bool) -> tuple[str, ...]:
    """Return the command up to the verb."""
    program = ("docker", "compose") if plugin else ("docker-compose",)
    project = ("-p", config.project_name) if config.project_name else ()
    return (*program, "-f", config.file, *project)


def list_command(base: tuple[str, ...], service: str) -> tuple[str, ...]:
    """Return the command that prints the ids of a service's containers, stopped ones too."""
    return (*base, "ps", "-a", "-q", service)


def restart_command(base: tuple[str, ...], service: str, *, grace: int) -> tuple[str, ...]:
    """Return the command that restarts a service, killing it after `grace` seconds."""
    return (*base, "restart", "-t", str(grace), service)


class Compose:
    """Runs compose restart, and verifies a new start of every container of the service."""

    def __init__(self, config: ComposeRestart) -> None:
        self.config = config
        self.name = f"compose {config.service}"
        self.client = Client(config)

    def running(self) -> Running:
        """Return the starts of the service's containers; an empty instance where it has none."""
        return as_running(self._states())

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Return when a new start of every container has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self._require()
        room = self.config.within.seconds - self.config.settle.seconds
        grace = grace_seconds([state.stop_timeout for state in before], room=room)
        argv = restart_command(self._base, self.config.service, grace=grace)
        self.client.restart(argv, before, deadline=deadline, announce=announce)
        # By name, not by id: one that somebody recreates meanwhile is verified all the same.
        return self.client.wait_until_up(
            [state.name for state in before], before, deadline=deadline
        )

    def check(self) -> str:
        """Return the service's state; StepFailed where it has no container."""
        return f"service {self.config.service} {as_running(self._require()).detail}"

    def _states(self) -> tuple[ContainerState, ...]:
        listed = self.client.ask(list_command(self._base, self.config.service))
        if listed.code != 0:
            self.client.require_daemon()
            raise StepFailed(
                f"service {self.config.service} of {self.config.file}: {listed.stderr.strip()}",
                state="nothing was restarted",
                next_step=self._typed("config", "--services"),
            )
        ids = listed.stdout.split()
        return tuple(s for s in self.client.look(ids) if not s.one_off) if ids else ()

    def _require(self) -> tuple[ContainerState, ...]:
        states = self._states()
        if not states:
            raise StepFailed(
                f"service {self.config.service} of {self.config.file} has no container",
                state="nothing was restarted",
                next_step=self._typed("up", "-d", "--no-deps", self.config.service),
            )
        return states

    def _typed(self, *arguments: str) -> str:
        return self.client.command_line(*self._base, *arguments)

    @cached_property
    def _base(self) -> tuple[str, ...]:
        try:
            plugin = (
                process.run(
                    PROBE, purpose=self.client.purpose, within=PROBE_WITHIN, check=False
                ).code
                == 0
            )
        except ChildFailed:  # no docker client at all
            plugin = False
        if not plugin and shutil.which("docker-compose") is None:
            raise StepFailed(
                "neither docker compose nor docker-compose is installed",
                state="nothing was restarted",
                next_step="apt-get install docker-compose",
            )
        return base_command(self.config, plugin=plugin)
