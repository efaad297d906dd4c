"""Verifies a container's restart, of docker and compose: a new start that stays.

`docker restart` returns 0 for a container that dies half a second later, and for one that is
unhealthy; the evidence of a restart is a new start that docker did not have to repeat.
"""

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .. import process, purposes
from ..config.sections import ComposeRestart, DockerRestart
from ..errors import ChildFailed, StepFailed, Unreachable
from ..secret import redact
from . import Running
from .asking import asked_within, next_step

POLL = 0.2  # seconds
TAIL = 5  # lines of the log in an error
GRACE = 10  # seconds between SIGTERM and SIGKILL where the container sets none; docker's default


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What docker inspect says of a container."""

    id: str
    name: str
    started_at: str  # RFC 3339, with nanoseconds
    status: str  # running, restarting, exited, …
    restart_count: int  # starts by its own restart policy; a restart by hand sets it to 0
    exit_code: int
    error: str  # why the last start failed; mostly empty
    health: str  # healthy, starting, unhealthy; empty without a health check
    stop_timeout: int | None  # seconds; None: docker's default, negative: for ever
    image: str  # its id, which a tag that moved does not change
    one_off: bool  # created by `compose run`, and no part of the service

    @property
    def instance(self) -> str:
        """What differs after every start."""
        return f"{self.id[:12]}@{self.started_at}"

    @property
    def up(self) -> bool:
        """Whether it runs, and is healthy where it can tell."""
        return self.status == "running" and self.health in ("", "healthy")

    def __str__(self) -> str:
        parts = [self.status]
        if self.health and self.status == "running":
            parts.append(self.health)
        if self.status != "running":
            parts.append(f"exit code {self.exit_code}")
        if self.restart_count:
            parts.append(f"started again {self.restart_count} times by its restart policy")
        if self.error:
            parts.append(self.error)
        return ", ".join(parts)


def inspect_command(containers: Sequence[str]) -> tuple[str, ...]:
    """Return the command that prints each container's state as JSON, docker one in a line."""
    # The whole document: a template on .State.Health fails where there is no health check.
    return ("docker", "inspect", "--type=container", "--format={{json .}}", *containers)


def read_states(text: str) -> tuple[ContainerState, ...]:
    """Return what `inspect_command` printed: objects, as docker has them, or podman's one array.

    Raises:
        ValueError: it is no such JSON, or lacks what every version has.

    """
    documents: list[Any] = []
    rest = text.strip()
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        documents += document if isinstance(document, list) else [document]
        rest = rest[end:].lstrip()
    try:
        return tuple(_state_of(document) for document in documents)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no state of a container: {error!r}") from error


def _state_of(document: dict[str, Any]) -> ContainerState:
    state, settings = document["State"], document["Config"]
    health = (state.get("Health") or state.get("Healthcheck") or {}).get("Status", "")
    return ContainerState(
        id=document["Id"],
        name=document["Name"].removeprefix("/"),
        started_at=state["StartedAt"],
        status="exited" if state["Status"] == "stopped" else state["Status"],  # podman's, at first
        restart_count=document.get("RestartCount", 0),
        exit_code=state["ExitCode"],
        error=state.get("Error", ""),
        health="" if health == "none" else health,
        stop_timeout=settings.get("StopTimeout"),
        image=document.get("Image", ""),
        one_off=(settings.get("Labels") or {}).get("com.docker.compose.oneoff") == "True",
    )


def grace_seconds(stop_timeouts: Sequence[int | None], *, room: float) -> int:
    """Return for how long a process may take to end: what its container says, if there is room.

    At most half of the room, in seconds: the other half is for the new start.
    """
    most = max(1, int(room / 2))
    wanted = [GRACE if seconds is None else seconds for seconds in stop_timeouts]
    return max(most if seconds < 0 else min(seconds, most) for seconds in wanted)


def as_running(states: Sequence[ContainerState], detail: str = "") -> Running:
    """Return the containers as one thing that serves; none is a service that is down."""
    summary = ", ".join(str(state) for state in states) or "no container"
    return Running(
        instance=",".join(sorted(state.instance for state in states)),
        image=states[0].image if states else "",
        detail=detail or summary,
    )


class Client:
    """The docker client on one daemon: `host` as DOCKER_HOST takes it, empty for its own choice."""

    def __init__(self, config: DockerRestart | ComposeRestart) -> None:
        self.config = config
        self.purpose = purposes.DOCKER.named(config.environment)
        self.env = {"DOCKER_HOST": config.host} if config.host else {}

    def command_line(self, *argv: str) -> str:
        """Return a command as a person types it to reach this daemon."""
        return " ".join([*(f"{k}={shlex.quote(v)}" for k, v in self.env.items()), shlex.join(argv)])

    def ask(self, argv: Sequence[str]) -> process.Finished:
        """Run docker or docker-compose, whatever its exit status; Unreachable if it hangs."""
        within = asked_within(self.config)
        try:
            return process.run(argv, purpose=self.purpose, within=within, env=self.env, check=False)
        except ChildFailed as error:  # not started, or too late
            raise self._unreachable(error.what, error) from error

    def require_daemon(self) -> None:
        """Raise Unreachable unless the daemon answers."""
        answer = self.ask(("docker", "version", "--format={{.Server.Version}}"))
        if answer.code != 0:
            raise self._unreachable(_tail(answer.stderr))

    def look(self, containers: Sequence[str]) -> tuple[ContainerState, ...]:
        """Return the containers' states; nothing where one of them does not exist."""
        answer = self.ask(inspect_command(containers))
        if answer.code != 0:  # the same status for no container and for no daemon
            self.require_daemon()
            return ()
        try:
            return read_states(answer.stdout)
        except ValueError as error:
            raise StepFailed(
                redact(f"docker inspect printed something else than a container's state: {error}"),
                state="nothing is known of the container",
                next_step=self.command_line(*inspect_command(containers)),
            ) from error

    def restart(
        self,
        argv: Sequence[str],
        before: Sequence[ContainerState],
        *,
        deadline: float,
        announce: process.Announce,
    ) -> None:
        """Run the command that restarts; `deadline` is of time.monotonic().

        Raises:
            Unreachable: the daemon does not answer.
            StepFailed: it ended with another status than 0, or too late; with a log's end.

        """
        left = max(1.0, deadline - time.monotonic())
        try:
            process.run(argv, purpose=self.purpose, within=left, env=self.env, announce=announce)
        except ChildFailed as error:
            self.require_daemon()
            now = self.look([state.id for state in before])
            state = next((s for s in now if not s.up), now[0] if now else before[0])
            message = _tail(error.stderr) or error.what
            raise self._failure(state, f"was not restarted ({message})") from error

    def wait_until_up(
        self, containers: Sequence[str], before: Sequence[ContainerState], *, deadline: float
    ) -> Running:
        """Return when every container has a new start, is up, and has settled.

        `deadline` is of time.monotonic(); the settle time lies before it.

        Raises:
            StepFailed: it is not so, or not in time; with the end of the log.

        """
        old = {state.instance for state in before}
        new = self._wait_for_new(containers, old, deadline - self.config.settle.seconds)
        self._settle(containers, {state.instance for state in new})
        health = ", ".join(dict.fromkeys(state.health or "no health check" for state in new))
        return as_running(new, f"new start, {health}")

    def _wait_for_new(
        self, containers: Sequence[str], old: set[str], latest: float
    ) -> tuple[ContainerState, ...]:
        while True:
            states = self._look_again(containers)
            for state in states:
                if state.instance not in old:
                    self._refuse_lost(state)
            waiting = [s for s in states if s.instance in old or not s.up]
            if not waiting:
                return states
            if time.monotonic() >= latest:
                how = "was not restarted" if waiting[0].instance in old else "did not come up"
                raise self._failure(
                    waiting[0],
                    f"{how} early enough to be watched for {self.config.settle} "
                    f"within {self.config.within}",
                )
            time.sleep(POLL)

    def _refuse_lost(self, state: ContainerState) -> None:
        """Raise where waiting cannot help: docker never mends health, nor lowers the count."""
        if state.status in ("exited", "dead"):
            raise self._failure(state, "ended after the restart")
        if state.health == "unhealthy":
            raise self._failure(state, "is unhealthy after the restart")
        if state.restart_count > 0:
            raise self._failure(state, "crashed after the restart")

    def _settle(self, containers: Sequence[str], new: set[str]) -> None:
        until = time.monotonic() + self.config.settle.seconds
        while True:
            asked = time.monotonic()
            for state in self._look_again(containers):
                # A crash loop is "running" half of the time: the start and the count tell.
                if not state.up or state.instance not in new or state.restart_count > 0:
                    raise self._failure(state, f"did not stay up for {self.config.settle}")
            if asked >= until:
                return
            time.sleep(POLL)

    def _look_again(self, containers: Sequence[str]) -> tuple[ContainerState, ...]:
        states = self.look(containers)
        if not states:
            self._refuse_gone(containers)
        return states

    def _refuse_gone(self, containers: Sequence[str]) -> NoReturn:
        raise StepFailed(
            f"container {', '.join(containers)} was removed while it was restarted",
            state="the service is down",
            next_step=self.command_line("docker", "ps", "--all"),
        )

    def _failure(self, state: ContainerState, how: str) -> StepFailed:
        return StepFailed(
            f"container {state.name} {how}: {state}; {self._log(state.id)}",
            state="the service may be down",
            next_step=self.command_line("docker", "logs", "--tail", "50", state.name),
        )

    def _log(self, container: str) -> str:
        answer = self.ask(("docker", "logs", "--tail", str(TAIL), container))
        if answer.code != 0:  # a log driver that cannot be read back
            return f"its log cannot be read: {_tail(answer.stderr)}"
        tail = _tail(answer.stdout + answer.stderr)
        return f"log: {tail}" if tail else "its log is empty"

    def _unreachable(self, message: str, error: ChildFailed | None = None) -> Unreachable:
        command = self.command_line("docker", "version")
        return Unreachable(
            f"docker does not answer: {message}",
            state="nothing is known of the container",
            next_step=command if error is None else next_step(error, command),
        )


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-TAIL:])
