"""The proof of a container's restart, for docker and compose: a new start that stays."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ci import process
from ci.config import Duration
from ci.errors import ChildFailed, StepFailed, Unreachable
from ci.restarters import Running

POLL = 0.2  # seconds
ASKED_WITHIN = 30.0  # seconds for docker inspect and the like
TAIL = 5  # lines of the log in an error


@dataclass(frozen=True, slots=True)
class State:
    """What docker inspect says of a container."""

    id: str
    started_at: str
    status: str  # running, restarting, exited, …
    restart_count: int
    exit_code: int
    health: str  # healthy, starting, unhealthy; empty without a health check

    @property
    def instance(self) -> str:
        """What differs after every start."""
        return f"{self.id[:12]}@{self.started_at}"


@dataclass(frozen=True, slots=True)
class Docker:
    """The docker client on one daemon; `host` as DOCKER_HOST takes it, empty for its own choice."""

    host: str

    def run(self, argv: Sequence[str], *, within: float = ASKED_WITHIN) -> process.Finished:
        """Run docker or docker-compose against this daemon."""
        return process.run(argv, within=within, env={"DOCKER_HOST": self.host} if self.host else {})

    def inspect(self, container: str) -> State:
        """Return a container's state.

        Raises:
            Unreachable: the daemon does not answer.
            StepFailed: there is no such container.

        """
        try:
            # {{json .}}: a template on .State.Health fails where there is no health check.
            text = self.run(
                ("docker", "inspect", "--type=container", "-f", "{{json .}}", container)
            )
        except ChildFailed as error:
            self.require_daemon()
            raise StepFailed(
                f"there is no container {container}",
                state="nothing was restarted",
                next_step="docker ps --all",
            ) from error
        found = json.loads(text.stdout)
        state = found["State"]
        return State(
            id=found["Id"],
            started_at=state["StartedAt"],
            status=state["Status"],
            restart_count=found["RestartCount"],
            exit_code=state["ExitCode"],
            health=(state.get("Health") or {}).get("Status", ""),
        )

    def require_daemon(self) -> None:
        """Raise Unreachable unless the daemon answers."""
        try:
            self.run(("docker", "version", "--format", "{{.Server.Version}}"))
        except ChildFailed as error:
            raise Unreachable(
                f"docker does not answer: {error.stderr or error.what}",
                state="nothing is known of the container",
                next_step="docker version",
            ) from error

    def prove(
        self, container: str, before: State | None, *, settle: Duration, deadline: float
    ) -> Running:
        """Return when a new start is running, healthy where it can tell, and has settled.

        `before` is None where there was no container; `deadline` is of time.monotonic().

        Raises:
            StepFailed: it is not, or not in time; with the end of its log.

        """
        while True:
            now = self.inspect(container)
            new = before is None or now.instance != before.instance
            if new and now.status == "running" and now.health in ("", "healthy"):
                break
            if now.status in ("exited", "dead") or now.health == "unhealthy":
                raise self.failure(container, now, "is not well after the restart")
            if time.monotonic() >= deadline:
                what = "did not come up in time" if new else "was not restarted"
                raise self.failure(container, now, what)
            time.sleep(POLL)
        self._settle(container, now, settle)
        return Running(
            instance=now.instance, detail=f"new start, {now.health or 'no health check'}"
        )

    def _settle(self, container: str, first: State, settle: Duration) -> None:
        until = time.monotonic() + settle.seconds
        while True:
            now = self.inspect(container)
            # A crash loop is "running" half of the time: the start and the count tell.
            same = now.instance == first.instance and now.restart_count == 0
            if not same or now.status != "running" or now.health not in ("", "healthy"):
                raise self.failure(container, now, f"did not stay up for {settle}")
            if time.monotonic() >= until:
                return
            time.sleep(POLL)

    def failure(self, container: str, state: State, how: str) -> StepFailed:
        """Return the error of a container that is not well, with the end of its log."""
        health = f", {state.health}" if state.health else ""
        return StepFailed(
            f"container {container} {how}: {state.status}{health}, exit code {state.exit_code}, "
            f"{state.restart_count} restarts of its own; {self._log(container)}",
            state="the service may be down",
            next_step=f"docker logs --tail 50 {container}",
        )

    def _log(self, container: str) -> str:
        try:
            found = self.run(("docker", "logs", "--tail", str(TAIL), container))
        except ChildFailed as error:
            return f"its log cannot be read: {error.what}"
        lines = [line.strip() for line in (found.stdout + found.stderr).splitlines()]
        return f"log: {' | '.join(lines[-TAIL:])}" if lines else "its log is empty"
