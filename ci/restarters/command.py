"""Restarts through any program, with another one that tells the service's identity."""

import time
from pathlib import Path

from ci import process
from ci.config import CommandRestart
from ci.errors import StepFailed
from ci.restarters import Running

POLL = 0.1  # seconds


class Command:
    """Runs `run`; what `identity` prints must change, and then stay as it is."""

    reverts = False

    def __init__(self, config: CommandRestart) -> None:
        self.config = config
        self.name = "command " + " ".join(Path(word).name for word in config.run)

    def running(self) -> Running:
        """Return what `identity` prints now."""
        within = self.config.within.seconds
        found = process.run(self.config.identity, within=within).stdout.strip()
        return Running(instance=found)

    def restart(self) -> Running:
        """Run the command and return when a new identity stood still for the settle time."""
        before = self.running()
        deadline = time.monotonic() + self.config.within.seconds
        process.run(self.config.run, within=self.config.within.seconds)
        now = self.running()
        while now.instance == before.instance:
            if time.monotonic() >= deadline:
                raise self._failure(f'the identity is still "{now.instance}" after the command')
            time.sleep(POLL)
            now = self.running()
        settled = time.monotonic() + self.config.settle.seconds
        while time.monotonic() < settled:
            time.sleep(POLL)
            later = self.running()
            if later.instance != now.instance:
                raise self._failure(
                    f'the identity went on changing: "{now.instance}", then "{later.instance}"'
                )
        return Running(instance=now.instance, detail=f"new identity {now.instance}")

    def revert(self, to: Running) -> Running:  # noqa: ARG002  # the protocol's form
        """Refuse: a command restarts what is installed."""
        raise self._failure("it cannot go back to an earlier version")

    def check(self) -> str:
        """Run `identity`, which only reads."""
        return f"identity {self.running().instance}"

    def _failure(self, what: str) -> StepFailed:
        return StepFailed(
            f"{self.name}: {what}",
            state="the service may be down",
            next_step=f"run by hand: {' '.join(self.config.identity)}",
        )
