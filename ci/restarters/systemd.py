"""Restarts through systemd: a unit or several, the caller's own manager, or a host over ssh.

`systemctl restart` returns 0 for a Type=simple service that dies half a second later; what proves
a restart is a new InvocationID that stays, while the unit is active.
"""

import shlex
import time
from collections.abc import Mapping

from ci import process
from ci.config import SystemdRestart
from ci.errors import ChildFailed, StepFailed, Unreachable
from ci.restarters import Running
from ci.secret import redact

POLL = 0.1  # seconds
ASKED_WITHIN = 30.0  # seconds for systemctl show and the like, ssh included
TAIL = 5  # lines of the journal in an error
SSH_FAILED = 255  # ssh's own exit status; a remote command's is passed through
SHOWN = (
    "LoadState", "ActiveState", "SubState", "MainPID", "InvocationID", "Result", "ExecMainStatus",
    "NeedDaemonReload", "Job",
)  # fmt: skip

State = Mapping[str, str]  # one unit's properties


def command(config: SystemdRestart, program: str, *arguments: str) -> tuple[str, ...]:
    """Return the argv of systemctl or journalctl for this unit's manager."""
    own = (program, *(("--user",) if config.user else ()), *arguments)
    if not config.host:
        return own
    return ("ssh", "-o", "BatchMode=yes", config.host, shlex.join(own))


class Systemd:
    """Restarts every unit, and watches each."""

    reverts = False

    def __init__(self, config: SystemdRestart) -> None:
        self.config = config
        self.name = f"systemd {', '.join(config.units)}"

    def running(self) -> Running:
        """Return the units' invocations; a unit that is down has an empty one."""
        return self._as_running([self._show(unit) for unit in self.config.units])

    def restart(self) -> Running:
        """Restart the units one by one and return when each new invocation has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = {unit: self._require_loaded(unit) for unit in self.config.units}
        if any(state["NeedDaemonReload"] == "yes" for state in before.values()):
            self._ask("systemctl", "daemon-reload")
        for unit in self.config.units:
            # A unit that crashed too often refuses every start until it is told to forget. One
            # that never ran is not in memory, has nothing to forget, and exits 1 here.
            forget = command(self.config, "systemctl", "reset-failed", unit)
            process.run(forget, within=ASKED_WITHIN, check=False)
            self._start(unit, deadline)
        new = {unit: self._wait_for_new(unit, before[unit], deadline) for unit in before}
        self._settle(new)
        return self._as_running(list(new.values()))

    def revert(self, to: Running) -> Running:  # noqa: ARG002  # the protocol's form
        """Refuse: systemd starts what is installed."""
        raise StepFailed(
            f"{self.name} cannot go back to an earlier version",
            state="it runs what is installed",
            next_step="install the earlier version and restart",
        )

    def check(self) -> str:
        """Return the units' states; StepFailed where one does not exist."""
        found = [self._require_loaded(unit) for unit in self.config.units]
        return ", ".join(
            f"{u} {s['ActiveState']}" for u, s in zip(self.config.units, found, strict=True)
        )

    def _as_running(self, states: list[State]) -> Running:
        return Running(
            instance=",".join(state["InvocationID"] for state in states),
            detail="new invocation, " + ", ".join(state["ActiveState"] for state in states),
        )

    def _start(self, unit: str, deadline: float) -> None:
        argv = command(self.config, "systemctl", "restart", unit)
        try:
            process.run(argv, within=max(1.0, deadline - time.monotonic()))
        except ChildFailed as error:
            self._raise_if_ssh(error)
            raise self._failure(unit, self._show(unit), "did not start") from error

    def _wait_for_new(self, unit: str, before: State, deadline: float) -> State:
        while True:
            state = self._show(unit)
            new = state["InvocationID"] not in ("", before["InvocationID"])
            if _up(state) and new:
                return state
            if state["ActiveState"] == "failed":
                raise self._failure(unit, state, "failed after the restart")
            if time.monotonic() >= deadline:
                what = "is up, but was not restarted" if _up(state) else "did not come up"
                raise self._failure(unit, state, f"{what} within {self.config.within}")
            time.sleep(POLL)

    def _settle(self, new: Mapping[str, State]) -> None:
        until = time.monotonic() + self.config.settle.seconds
        while True:
            for unit, state in new.items():
                now = self._show(unit)
                if not _up(now) or now["InvocationID"] != state["InvocationID"]:
                    raise self._failure(
                        unit, now, f"did not stay up for {self.config.settle} after the restart",
                        invocation=state["InvocationID"],
                    )  # fmt: skip
            if time.monotonic() >= until:
                return
            time.sleep(POLL)

    def _require_loaded(self, unit: str) -> State:
        state = self._show(unit)
        if state["LoadState"] != "loaded":
            raise StepFailed(
                f"{unit}: systemd says {state['LoadState']}",
                state="nothing was restarted",
                next_step=shlex.join(command(self.config, "systemctl", "list-unit-files", unit)),
            )
        return state

    def _show(self, unit: str) -> State:
        text = self._ask("systemctl", "show", "-p", ",".join(SHOWN), unit)
        found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return {name: found.get(name, "") for name in SHOWN}

    def _ask(self, program: str, *arguments: str) -> str:
        argv = command(self.config, program, *arguments)
        try:
            return process.run(argv, within=ASKED_WITHIN).stdout
        except ChildFailed as error:
            self._raise_if_ssh(error)
            raise Unreachable(
                f"systemd does not answer: {error.what}",
                state="nothing is known of the unit",
                next_step=f"run by hand: {shlex.join(argv)}",
            ) from error

    def _raise_if_ssh(self, error: ChildFailed) -> None:
        if self.config.host and error.code == SSH_FAILED:
            raise Unreachable(
                f"ssh to {self.config.host} failed: {error.stderr or 'no words of its own'}",
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
            next_step=shlex.join(command(self.config, "systemctl", "status", unit)),
        )

    def _journal(self, unit: str, invocation: str) -> str:
        argv = command(
            self.config, "journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={TAIL}",
            f"_SYSTEMD_INVOCATION_ID={invocation}",
        )  # fmt: skip
        found = process.run(argv, within=ASKED_WITHIN, check=False) if invocation else None
        lines = found.stdout.split("\n") if found is not None and found.code == 0 else []
        said = [line.strip() for line in lines if line.strip()]
        return f"journal: {' | '.join(said)}" if said else f"the journal has nothing of {unit}"


def _up(state: State) -> bool:
    return (
        state["ActiveState"] == "active"
        and state["SubState"] in ("running", "exited", "listening")
        and state["Job"] in ("", "0")
    )
