"""Restarts a Kubernetes Deployment by a new rollout, and can go back to an earlier revision.

Every failure of kubectl exits 1, and `rollout status` without a deadline waits for ever; so the
Deployment is read back as JSON, before and after.
"""

import time
from typing import Any

import msgspec

from ci import process
from ci.config import KubectlRestart
from ci.errors import ChildFailed, StepFailed, Unreachable
from ci.restarters import Running
from ci.secret import redact

ASKED_WITHIN = 30.0  # seconds for one question
POLL = 0.3  # seconds
REVISION = "deployment.kubernetes.io/revision"
EVENTS_SHOWN = 3


class _Metadata(msgspec.Struct, frozen=True):
    generation: int = 0
    annotations: dict[str, str] = {}


class _Selector(msgspec.Struct, frozen=True, rename="camel"):
    match_labels: dict[str, str] = {}


class _Spec(msgspec.Struct, frozen=True):
    selector: _Selector
    replicas: int = 1
    paused: bool = False
    template: dict[str, Any] = {}


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0


class _Deployment(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec
    status: _Status = _Status()

    @property
    def revision(self) -> str:
        return self.metadata.annotations.get(REVISION, "")

    @property
    def rolled_out(self) -> bool:
        """All pods are of the newest template, and available."""
        s, wanted = self.status, self.spec.replicas
        return (
            s.observed_generation >= self.metadata.generation
            and s.updated_replicas == s.replicas == s.available_replicas == wanted
        )

    def counts(self) -> str:
        s = self.status
        return (
            f"{s.updated_replicas} of {self.spec.replicas} pods are new, "
            f"{s.available_replicas} available"
        )


def command(config: KubectlRestart, *arguments: str) -> tuple[str, ...]:
    """Return the argv of kubectl for the configured context and namespace."""
    context = (f"--context={config.context}",) if config.context else ()
    return ("kubectl", *context, f"--namespace={config.namespace}", *arguments)


class Kubectl:
    """Rolls a Deployment out anew; `version` is its revision."""

    reverts = True

    def __init__(self, config: KubectlRestart) -> None:
        self.config = config
        self.name = f"kubectl deployment/{config.deployment}"

    def running(self) -> Running:
        """Return the Deployment's revision and generation."""
        return self._as_running(self._read())

    def restart(self) -> Running:
        """Roll out anew and return when every pod is new, available, and has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self._read()
        self._require_running(before)
        self._change("restart", f"deployment/{self.config.deployment}")
        return self._wait(before, deadline)

    def revert(self, to: Running) -> Running:
        """Roll back to `to.version`, a revision, and return when it serves."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self._read()
        if before.revision == to.version and before.rolled_out:
            return self._as_running(before)
        self._change("undo", f"deployment/{self.config.deployment}", f"--to-revision={to.version}")
        now = self._read()
        # kubectl says "skipped rollback", and exits 0, where the template is that revision's.
        if now.metadata.generation == before.metadata.generation and not now.rolled_out:
            raise self._failure(now, f"cannot go back to revision {to.version}")
        return self._wait(before, deadline, changed=now.metadata.generation)

    def check(self) -> str:
        """Return the rollout's state; StepFailed where there is none, or it is paused."""
        found = self._read()
        self._require_running(found)
        return f"deployment {self.config.deployment}, revision {found.revision}, {found.counts()}"

    def _wait(self, before: _Deployment, deadline: float, changed: int | None = None) -> Running:
        now = self._read()
        if changed is None and now.metadata.generation <= before.metadata.generation:
            raise self._failure(now, "was not changed by kubectl rollout restart")
        left = max(1, int(deadline - time.monotonic()))
        argv = command(
            self.config, "rollout", "status", f"deployment/{self.config.deployment}",
            f"--timeout={left}s",
        )  # fmt: skip
        try:
            process.run(argv, within=left + ASKED_WITHIN)
        except ChildFailed as error:
            raise self._failure(self._read(), f"did not roll out: {_said(error)}") from error
        return self._settle(now.metadata.generation)

    def _settle(self, generation: int) -> Running:
        """Return when nothing moved for the settle time: no other rollout, no pod restarted."""
        until = time.monotonic() + self.config.settle.seconds
        restarts: int | None = None
        while True:
            now = self._read()
            if now.metadata.generation != generation:
                raise self._failure(now, "was changed by somebody else during the rollout")
            if not now.rolled_out:
                raise self._failure(now, f"did not stay up for {self.config.settle}")
            seen = self._restarts(now)
            if restarts is not None and seen > restarts:
                raise self._failure(now, "has pods that restart")
            restarts = seen
            if time.monotonic() >= until:
                return self._as_running(now)
            time.sleep(POLL)

    def _as_running(self, found: _Deployment) -> Running:
        return Running(
            instance=f"{found.revision}/{found.metadata.generation}",
            version=found.revision,
            detail=f"revision {found.revision}, {found.counts()}",
        )

    def _require_running(self, found: _Deployment) -> None:
        if found.spec.paused:
            raise StepFailed(
                f"deployment {self.config.deployment} is paused",
                state="nothing was restarted",
                next_step=" ".join(
                    command(
                        self.config, "rollout", "resume", f"deployment/{self.config.deployment}"
                    )
                ),
            )

    def _read(self) -> _Deployment:
        text = self._ask("get", "deployment", self.config.deployment, "--output=json")
        return msgspec.json.decode(text, type=_Deployment)

    def _pods(self, found: _Deployment) -> list[dict[str, Any]]:
        labels = ",".join(f"{k}={v}" for k, v in sorted(found.spec.selector.match_labels.items()))
        text = self._ask("get", "pods", f"--selector={labels}", "--output=json")
        items: list[dict[str, Any]] = msgspec.json.decode(text)["items"]
        return items

    def _restarts(self, found: _Deployment) -> int:
        return sum(
            container.get("restartCount", 0)
            for pod in self._pods(found)
            for container in pod.get("status", {}).get("containerStatuses", [])
        )

    def _change(self, *arguments: str) -> None:
        try:
            process.run(command(self.config, "rollout", *arguments), within=ASKED_WITHIN)
        except ChildFailed as error:
            raise StepFailed(
                f"{self.name}: {_said(error)}",
                state="the rollout was not changed",
                next_step=" ".join(command(self.config, "rollout", *arguments)),
            ) from error

    def _ask(self, *arguments: str) -> str:
        argv = command(self.config, *arguments)
        try:
            return process.run(argv, within=ASKED_WITHIN).stdout
        except ChildFailed as error:
            # kubectl exits 1 for whatever it was: its own words are all there is.
            raise Unreachable(
                f"{self.name}: {_said(error)}",
                state="nothing is known of the deployment",
                next_step=" ".join(argv),
            ) from error

    def _failure(self, found: _Deployment, how: str) -> StepFailed:
        return StepFailed(
            redact(
                f"deployment {self.config.deployment} {how}; {found.counts()}; {self._why(found)}"
            ),
            state="the service may be partly down",
            next_step=" ".join(
                command(self.config, "describe", "deployment", self.config.deployment)
            ),
        )

    def _why(self, found: _Deployment) -> str:
        """Return what the pods and the last events say; a failure to ask is said too."""
        try:
            pods = [_pod_line(pod) for pod in self._pods(found)]
            text = self._ask("get", "events", "--sort-by=.lastTimestamp", "--output=json")
        except Unreachable as error:
            return error.what
        events = [
            f"{event.get('reason', '')}: {event.get('message', '')}"
            for event in msgspec.json.decode(text)["items"]
        ]
        shown = [*(line for line in pods if line), *events[-EVENTS_SHOWN:]]
        return " | ".join(shown) or "no pod and no event says why"


def _said(error: ChildFailed) -> str:
    """Return kubectl's last line: before it stand its library's own, one for each try."""
    return error.stderr.splitlines()[-1] if error.stderr else error.what


def _pod_line(pod: dict[str, Any]) -> str:
    """Return what is wrong with a pod; empty where its containers are ready."""
    name = pod.get("metadata", {}).get("name", "?")
    reasons = [
        state.get("reason", "not ready")
        for container in pod.get("status", {}).get("containerStatuses", [])
        if not container.get("ready")
        for state in container.get("state", {}).values()
    ]
    return f"pod {name}: {', '.join(reasons)}" if reasons else ""
