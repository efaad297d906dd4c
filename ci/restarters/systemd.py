"""Restarts through systemd: a unit or several, the caller's own manager, or a host over ssh.

`systemctl restart` returns 0 for a Type=simple service that dies half a second later; the
evidence of a restart is a new InvocationID that stays, while the unit is active.
"""

import shlex
import time
from collections.abc import Mapping

from .. import process, purposes
from ..config.sections import SystemdRestart
from ..errors import ChildFailed, StepFailed, Unreachable
from ..secret import redact
from . import Running
from .asking import asked_within, next_step

POLL = 0.1  # seconds
TAIL = 5  # lines of the journal in an error
# It asks nothing, and a host that is gone ends it within half a minute.
SSH_OPTIONS = tuple(
    word
    for option in (
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=10",
        "ServerAliveCountMax=3",
    )
    for word in ("-o", option)
)
SSH_FAILED = 255  # ssh's own exit status; a remote command's is passed through
SHOWN = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Type",
    "InvocationID",
    "Result",
    "ExecMainStatus",
    "NeedDaemonReload",
    "Job",
)

PATTERN = frozenset("*?[")  # what makes a name a pattern to systemctl
NO_JOB = ("", "0")  # of the property Job: nothing is queued for the unit

State = Mapping[str, str]  # one unit's properties


def systemctl_command(config: SystemdRestart, *arguments: str) -> tuple[str, ...]:
    """Return the argv of systemctl for the units' manager."""
    own = ("systemctl", *(("--user",) if config.user else ()), *arguments)
    return _over_ssh(config, own) if config.host else own


def journal_command(config: SystemdRestart, invocation: str) -> tuple[str, ...]:
    """Return the argv that prints the end of what an invocation wrote, and was written about it."""
    # No --user: it hides what a system account's own manager logged, and the id is unique. The
    # manager's lines, such as a program that was not found, bear the id under another name.
    own = (
        "journalctl",
        "--no-pager",
        "--quiet",
        "--output=cat",
        f"--lines={TAIL}",
        f"_SYSTEMD_INVOCATION_ID={invocation}",
        "+",
        f"INVOCATION_ID={invocation}",
        "+",
        f"USER_INVOCATION_ID={invocation}",
    )
    return _over_ssh(config, own) if config.host else own


def _over_ssh(config: SystemdRestart, own: tuple[str, ...]) -> tuple[str, ...]:
    return ("ssh", *SSH_OPTIONS, config.host, shlex.join(own))


class Systemd:
    """Restarts every unit, and watches each."""

    def __init__(self, config: SystemdRestart) -> None:
        self.config = config
        self.purpose = purposes.SYSTEMD.named(config.environment)
        self.name = f"systemd {', '.join(config.together)}"

    def running(self) -> Running:
        """Return the units' invocations; a unit that is down has an empty one."""
        states = [self._show(unit) for unit in self.config.together]
        return _as_running(states, ", ".join(state["ActiveState"] for state in states))

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Restart the units one by one and return when each new invocation has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self._require_loaded()
        if any(state["NeedDaemonReload"] == "yes" for state in before.values()):
            self._ask("daemon-reload")
        for unit in self.config.together:
            # A unit that crashed too often refuses every start until it is told to forget. One
            # that never ran is not in memory, has nothing to forget, and exits 1 here.
            reset_command = systemctl_command(self.config, "reset-failed", unit)
            process.run(
                reset_command, purpose=self.purpose, within=asked_within(self.config), check=False
            )
            self._start(unit, deadline, announce)
        latest = deadline - self.config.settle.seconds
        new = {unit: self._wait_for_new(unit, before[unit], latest) for unit in before}
        self._settle(new)
        states = ", ".join(state["ActiveState"] for state in new.values())
        return _as_running(list(new.values()), f"new invocation, {states}")

    def check(self) -> str:
        """Return the units' states; StepFailed where one does not exist."""
        units = self._require_loaded()
        return ", ".join(f"{unit} {state['ActiveState']}" for unit, state in units.items())

    def _start(self, unit: str, deadline: float, announce: process.Announce) -> None:
        argv = systemctl_command(self.config, "restart", unit)
        try:
            left = max(1.0, deadline - time.monotonic())
            process.run(argv, purpose=self.purpose, within=left, announce=announce)
        except ChildFailed as error:
            self._raise_if_ssh(error)
            raise self._failure(unit, self._show(unit), "did not start") from error

    def _wait_for_new(self, unit: str, before: State, latest: float) -> State:
        while True:
            state = self._show(unit)
            new = state["InvocationID"] not in ("", before["InvocationID"])
            if _up(state) and new:
                return state
            if _is_down(state):
                raise self._failure(unit, state, "ended after the restart")
            if time.monotonic() >= latest:
                what = "was not restarted" if _up(state) else "did not come up"
                raise self._failure(
                    unit,
                    state,
                    f"{what} early enough to be watched for {self.config.settle} "
                    f"within {self.config.within}",
                )
            time.sleep(POLL)

    def _settle(self, new: Mapping[str, State]) -> None:
        until = time.monotonic() + self.config.settle.seconds
        while True:
            asked = time.monotonic()
            for unit, state in new.items():
                now = self._show(unit)
                if not _up(now) or now["InvocationID"] != state["InvocationID"]:
                    raise self._failure(
                        unit,
                        now,
                        f"did not stay up for {self.config.settle} after the restart",
                        invocation=state["InvocationID"],
                    )
            if asked >= until:
                return
            time.sleep(POLL)

    def _require_loaded(self) -> dict[str, State]:
        """Return the state of every unit; StepFailed unless each is one unit that exists."""
        if not self.config.together:
            raise self._refusal("restart.unit names no unit")
        return {unit: self._require_one(unit) for unit in self.config.together}

    def _require_one(self, unit: str) -> State:
        # systemctl restarts all that a pattern matches, none included, and exits 0.
        if PATTERN.intersection(unit):
            raise self._refusal(f"{unit}: a pattern; expected the name of a unit", unit)
        state = self._show(unit)
        if state["LoadState"] != "loaded":
            raise self._refusal(f"{unit}: systemd says {state['LoadState']}", unit)
        return state

    def _refusal(self, what: str, *units: str) -> StepFailed:
        argv = systemctl_command(self.config, "list-unit-files", *units)
        return StepFailed(what, state="nothing was restarted", next_step=shlex.join(argv))

    def _show(self, unit: str) -> State:
        text = self._ask("show", "-p", ",".join(SHOWN), unit)
        properties = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return {name: properties.get(name, "") for name in SHOWN}

    def _ask(self, *arguments: str) -> str:
        argv = systemctl_command(self.config, *arguments)
        try:
            return process.run(argv, purpose=self.purpose, within=asked_within(self.config)).stdout
        except ChildFailed as error:
            self._raise_if_ssh(error)
            where = f" of {self.config.host}" if self.config.host else ""
            raise Unreachable(
                f"systemd{where} does not answer: {error.what}",
                state="nothing is known of the unit",
                next_step=next_step(error, f"run by hand: {shlex.join(argv)}"),
            ) from error

    def _raise_if_ssh(self, error: ChildFailed) -> None:
        if self.config.host and error.code == SSH_FAILED:
            raise Unreachable(
                f"ssh to {self.config.host} failed: {error.stderr or 'no message'}",
                state="nothing is known of the unit",
                next_step=f"ssh {self.config.host} true",
            ) from error

    def _failure(self, unit: str, state: State, how: str, invocation: str = "") -> StepFailed:
        journal = self._journal(unit, invocation or state["InvocationID"])
        return StepFailed(
            redact(
                f"{unit} {how}: {state['ActiveState']}/{state['SubState']}, "
                f"result {state['Result']}, exit status {state['ExecMainStatus']}; {journal}"
            ),
            state="the service may be down",
            next_step=shlex.join(systemctl_command(self.config, "status", unit)),
        )

    def _journal(self, unit: str, invocation: str) -> str:
        """Return the end of the log, or why there is none."""
        if not invocation:
            return f"the journal has nothing of {unit}"
        argv = journal_command(self.config, invocation)
        try:
            text = process.run(argv, purpose=self.purpose, within=asked_within(self.config)).stdout
        except ChildFailed as error:  # it must not hide the failure that it would explain
            return f"the journal cannot be read: {error.what}"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"journal: {' | '.join(lines)}" if lines else f"the journal has nothing of {unit}"


def _as_running(states: list[State], detail: str) -> Running:
    return Running(instance=",".join(state["InvocationID"] for state in states), detail=detail)


def _up(state: State) -> bool:
    """Tell whether a unit serves: with RemainAfterExit=yes a dead service is "active" too."""
    alive = state["SubState"] != "exited" or state["Type"] == "oneshot"
    return state["ActiveState"] == "active" and alive and state["Job"] in NO_JOB


def _is_down(state: State) -> bool:
    """Tell whether waiting cannot help: it is down, and systemd is not about to start it."""
    down = state["ActiveState"] in ("failed", "inactive") or state["SubState"] == "exited"
    return down and not _up(state) and state["Job"] in NO_JOB
