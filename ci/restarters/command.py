"""Restarts through any program, with another one that tells the service's identity."""

import shlex
import shutil
import time
from pathlib import Path

from .. import process, purposes
from ..config.sections import CommandRestart
from ..errors import ConfigError, StepFailed
from ..secret import redact
from . import Running
from .asking import asked_within

POLL = 0.1  # seconds


class Command:
    """Runs `run`; what `identity` prints must change, and then stay as it is.

    An identity that prints nothing, or ends with another status than 0 (`cat` of a pid file that
    is gone), is a service that is down: it never counts as a new one.
    """

    def __init__(self, config: CommandRestart) -> None:
        for key, argv in (("run", config.run), ("identity", config.identity)):
            if not argv:
                raise ConfigError(
                    f"restart.{key} is empty; expected a program and its arguments",
                    next_step=f"write restart.{key} as a list, such as [./service.sh, {key}]",
                )
        self.config = config
        self.purpose = purposes.COMMAND.named(config.environment)
        self.name = redact("command " + " ".join(Path(word).name for word in config.run))

    def running(self) -> Running:
        """Return what `identity` prints now; empty where the service is down."""
        answer = self._identify(check=False)
        identity = answer.stdout.strip()
        if answer.code != 0:
            return Running(instance="", detail=f"down: identity ended with status {answer.code}")
        return Running(instance=identity, detail=f"identity {identity}" if identity else "down")

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Run the command and return when a new identity has been stable for the settle time."""
        # The settle time is part of the budget: what comes up later cannot be watched any more.
        latest = time.monotonic() + self.config.within.seconds - self.config.settle.seconds
        before = self.running().instance
        left = max(1.0, latest - time.monotonic())
        process.run(self.config.run, purpose=self.purpose, within=left, announce=announce)
        new = self._wait_for_new(before, latest)
        self._settle(new)
        return Running(instance=new, detail=f"new identity {new}")

    def check(self) -> str:
        """Run `identity`, which only reads; ChildFailed where it fails.

        Stricter than `running`: whether the service is down or the command is wrong cannot be
        told apart, and only here is there time to look.
        """
        identity = self._identify(check=True).stdout.strip()
        return f"identity {identity}" if identity else "down"

    def look(self) -> str:
        """Return which program tells the identity; ConfigError where it is not there."""
        program = self.config.identity[0]
        if shutil.which(program) is None:
            raise ConfigError(
                f"restart.identity: there is no program {program}",
                next_step="name one that is there and may be run",
            )
        return redact(f"identity by {program}, which is run once the plan is approved")

    def _identify(self, *, check: bool) -> process.Finished:
        within = asked_within(self.config)
        return process.run(self.config.identity, purpose=self.purpose, within=within, check=check)

    def _wait_for_new(self, before: str, latest: float) -> str:
        while True:
            now = self.running()
            if now.instance not in ("", before):
                return now.instance
            if time.monotonic() >= latest:
                problem = f'the identity is still "{before}"' if now.instance else now.detail
                raise self._failure(
                    f"{problem} after the command; expected a new identity early enough to be "
                    f"watched for {self.config.settle} within {self.config.within}"
                )
            time.sleep(POLL)

    def _settle(self, new: str) -> None:
        until = time.monotonic() + self.config.settle.seconds
        while True:
            asked = time.monotonic()
            now = self.running()
            if not now.instance:
                raise self._failure(
                    f'it did not stay up for {self.config.settle}: "{new}", then {now.detail}'
                )
            if now.instance != new:
                raise self._failure(f'the identity keeps changing: "{new}", then "{now.instance}"')
            if asked >= until:
                return
            time.sleep(POLL)

    def _failure(self, what: str) -> StepFailed:
        return StepFailed(
            f"{self.name}: {what}",
            state="the service may be down",
            next_step=redact(shlex.join(self.config.identity)),
        )
