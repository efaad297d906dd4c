"""Restarts a program under supervisor, by `supervisorctl`.

`supervisorctl restart` returns 0 for a process that dies after its startsecs, and version 3
returns 0 for nearly everything. So what `supervisorctl status` writes is read, whatever status it
ends with; what proves a restart is a new process id of every process, which stays.
"""

import re
import shlex
import time

import msgspec

from .. import process, purposes
from ..config.sections import SupervisorRestart
from ..errors import ChildFailed, StepFailed
from ..secret import redact
from . import Running
from .asking import asked_within

POLL = 0.5  # seconds; supervisorctl itself takes as long
LOG = 500  # bytes of the end of each log that an error shows
STATES = "STOPPED|STARTING|RUNNING|BACKOFF|STOPPING|EXITED|FATAL|UNKNOWN"
PROCESS = re.compile(rf"(\S+) +(?:{STATES})(?: .*)?")
RUNS = re.compile(r"\S+ +RUNNING +pid (\d+),.*")


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What `supervisorctl status` wrote: its text, and the process id of each process named.

    The process id is empty where the process does not run. There is no process at all where
    supervisord does not answer; a name that is not known makes `known` False.
    """

    text: str
    pids: dict[str, str]
    known: bool

    @property
    def running(self) -> Running:
        """All process ids; an empty instance where not every process runs."""
        up = self.known and all(self.pids.values())
        return Running(instance=" ".join(self.pids.values()) if up else "", detail=self.text)


def parse(text: str) -> Status:
    """Read what `supervisorctl status` wrote."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    matches = [PROCESS.fullmatch(line) for line in lines]
    pids = {
        match[1]: pid[1] if (pid := RUNS.fullmatch(match[0])) else "" for match in matches if match
    }
    return Status(
        text="; ".join(" ".join(line.split()) for line in lines),
        pids=pids,
        known=bool(matches) and all(matches),
    )


class Supervisor:
    """Runs supervisorctl restart, and watches the process ids."""

    def __init__(self, config: SupervisorRestart) -> None:
        self.config = config
        self.purpose = purposes.TOOL.named(config.environment)
        self.name = f"supervisor {config.program}"

    def running(self) -> Running:
        """Return the process ids; an empty instance where a process is down, or nothing answers."""
        return self._status().running

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Restart and return when every process is a new one, and has settled."""
        # The settle time is part of the budget: a later start cannot be watched any more.
        latest = time.monotonic() + self.config.within.seconds - self.config.settle.seconds
        before = self._status()
        if not before.known:
            # Version 3 would say so with status 0.
            raise self._failure("cannot be restarted", before)
        self._ask_for_restart(latest, announce)
        new = self._wait_for_new(before, latest)
        self._settle(new)
        return new

    def check(self) -> str:
        """Return the state of each process; StepFailed where supervisor knows no such program."""
        status = self._status()
        if not status.known:
            raise StepFailed(
                redact(f"{self.name} cannot be restarted: {status.text}"),
                state="nothing was restarted",
                next_step=shlex.join(self._argv("status")),
            )
        return status.text

    def _argv(self, verb: str, *arguments: str) -> tuple[str, ...]:
        file = ("-c", self.config.config) if self.config.config else ()
        return ("supervisorctl", *file, verb, *arguments)

    def _status(self) -> Status:
        # Version 4 ends with 3 where a process is down, and 4 where the name is not known or
        # supervisord does not answer; version 3 ends with 0. It writes the same to stdout.
        argv = self._argv("status", self.config.program)
        answer = process.run(
            argv, purpose=self.purpose, within=asked_within(self.config), check=False
        )
        return parse(answer.stdout or answer.stderr)

    def _ask_for_restart(self, latest: float, announce: process.Announce) -> None:
        argv = self._argv("restart", self.config.program)
        try:
            left = max(1.0, latest - time.monotonic())
            answer = process.run(
                argv, purpose=self.purpose, within=left, check=False, announce=announce
            )
        except ChildFailed as error:
            raise self._failure(f"was not restarted ({error.what})", self._status()) from error
        if answer.code != 0:
            # What went wrong is on stdout, which ChildFailed does not show.
            problem = " | ".join((answer.stdout + answer.stderr).splitlines())
            raise self._failure(f"was not restarted ({problem})", self._status())

    def _wait_for_new(self, before: Status, latest: float) -> Running:
        while True:
            now = self._status()
            # Each process of a group: one that was not restarted serves the old version.
            anew = all(pid != before.pids.get(name) for name, pid in now.pids.items())
            if now.running.instance and anew:
                return now.running
            if time.monotonic() >= latest:
                raise self._failure(
                    "has no new process early enough to be watched for "
                    f"{self.config.settle} within {self.config.within}",
                    now,
                )
            time.sleep(POLL)

    def _settle(self, new: Running) -> None:
        until = time.monotonic() + self.config.settle.seconds
        while True:
            # Before the question: supervisorctl is slow, and its answer may be of an earlier time.
            asked = time.monotonic()
            now = self._status()
            if now.running.instance != new.instance:
                raise self._failure(
                    f"did not stay up for {self.config.settle} after the restart", now
                )
            if asked >= until:
                return
            time.sleep(POLL)

    def _failure(self, what: str, status: Status) -> StepFailed:
        partly = any(status.pids.values()) and not all(status.pids.values())
        return StepFailed(
            redact(f"{self.name} {what}: {status.text}{self._log(status)}"),
            state=f"the service may be {'partly down' if partly else 'down'}",
            next_step=shlex.join(self._argv("status", self.config.program)),
        )

    def _log(self, status: Status) -> str:
        """Return the end of the log of the first process that is down, else of the first."""
        names = sorted(status.pids, key=lambda name: status.pids[name] != "")
        if not names:
            return ""
        ends = []
        for stream in ("stdout", "stderr"):
            argv = self._argv("tail", f"-{LOG}", names[0], stream)
            answer = process.run(
                argv, purpose=self.purpose, within=asked_within(self.config), check=False
            )
            if answer.code == 0 and "ERROR (" not in answer.stdout:
                ends += [line for line in answer.stdout.splitlines() if line.strip()]
        return f"; the log of {names[0]} ends: {' | '.join(ends)}" if ends else ""
