"""Restarts a Kubernetes Deployment by a new rollout, and can go back to an earlier revision.

Every failure of kubectl exits 1, and `rollout status` without a deadline waits for ever; so the
Deployment is read back as JSON, before and after.

What a rollout loses of a service's requests is not known here: where this driver is tested, no pod
really serves. It depends on the readiness probes, and on how long a pod that ends goes on serving.
"""

import shlex
import time
from typing import Any

import msgspec

from .. import process, purposes
from ..config.sections import KubectlRestart
from ..errors import ChildFailed, StepFailed, Unreachable
from ..secret import redact
from . import Running
from .asking import asked_within, next_step
from .rights import RIGHTS, role
from .rollouts import by_somebody_else, containers, stamp

POLL = 0.3  # seconds
REVISION = "deployment.kubernetes.io/revision"
EARLIER = "deployment.kubernetes.io/revision-history"  # numbers a ReplicaSet had before, by commas
EVENTS_SHOWN = 3
OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


class _Metadata(msgspec.Struct, frozen=True):
    uid: str = ""
    generation: int = 0
    annotations: dict[str, str] = {}


class _Expression(msgspec.Struct, frozen=True):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class _Selector(msgspec.Struct, frozen=True, rename="camel"):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[_Expression, ...] = ()

    def __str__(self) -> str:
        """Return it as --selector takes it; without the expressions it could match everything."""
        labels = [f"{key}={value}" for key, value in sorted(self.match_labels.items())]
        expressions = [
            OPERATORS[e.operator].format(key=e.key, values=",".join(e.values))
            for e in self.match_expressions
        ]
        return ",".join([*labels, *expressions])


class _Spec(msgspec.Struct, frozen=True):
    selector: _Selector
    template: dict[str, Any] = {}
    replicas: int = 1
    paused: bool = False


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


def kubectl_command(config: KubectlRestart, *arguments: str) -> tuple[str, ...]:
    """Return the argv of kubectl for the configured context and namespace."""
    context = (f"--context={config.context}",) if config.context else ()
    return ("kubectl", *context, f"--namespace={config.namespace}", *arguments)


def status_command(
    config: KubectlRestart, *, revision: str, within_seconds: int
) -> tuple[str, ...]:
    """Return the argv that waits for one revision; without it, for the newest."""
    return kubectl_command(
        config,
        "rollout",
        "status",
        f"deployment/{config.deployment}",
        f"--revision={revision}",
        f"--timeout={within_seconds}s",
    )


class Kubectl:
    """Rolls a Deployment out anew; `version` is its revision."""

    def __init__(self, config: KubectlRestart) -> None:
        self.config = config
        self.purpose = purposes.KUBECTL.named(config.environment)
        self.name = f"kubectl deployment/{config.deployment}"

    def running(self) -> Running:
        """Return the Deployment's revision; an empty instance where there is no Deployment."""
        deployment = self._find()
        return (
            self._as_running(deployment)
            if deployment
            else Running(instance="", detail="no deployment")
        )

    def restart(self, announce: process.Announce = process.unannounced) -> Running:
        """Roll out anew and return when every pod is new, available, and has settled."""
        deadline = time.monotonic() + self.config.within.seconds
        before = self._require_serving()
        # The answer to our own change: what is read later may be somebody else's.
        target = f"deployment/{self.config.deployment}"
        text = self._change(announce, "restart", target, "--output=json")
        ours = msgspec.json.decode(text, type=_Deployment)
        if ours.metadata.generation <= before.metadata.generation:
            raise self._failure(ours, "was not changed by kubectl rollout restart")
        revision = self._numbered(ours, deadline - self.config.settle.seconds)
        return self._wait(revision, ours, deadline)

    def revert(self, to: Running, announce: process.Announce = process.unannounced) -> Running:
        """Roll back to `to.version`, a revision, and return when it serves.

        Going back gives the revision a new number; its old one names it all the same.
        """
        deadline = time.monotonic() + self.config.within.seconds
        # Where a rollout has just begun, the cluster is about to number the revisions anew.
        before = self._observed(self._require_serving().metadata.generation, deadline)
        revision = self._number_now(before, to.version)
        if before.revision == revision and before.rolled_out:
            return self._as_running(before)
        undo = ("undo", f"deployment/{self.config.deployment}", f"--to-revision={revision}")
        self._change(announce, *undo)
        # kubectl says "skipped rollback", and exits 0, where that template is asked for already:
        # then the rollout under way is waited for, and has to be the right one.
        latest = deadline - self.config.settle.seconds
        now = self._observed(self._require().metadata.generation, latest)
        serves = self._wait(now.revision, now, deadline)
        if self._number_now(self._require(), to.version) != serves.version:
            raise self._failure(self._require(), f"did not go back to revision {to.version}")
        return serves

    def check(self) -> str:
        """Return the rollout's state; StepFailed where there is none, or it cannot go on.

        It cannot go on without the rights either: each is asked for before anything changes.
        """
        deployment = self._require_serving()
        self._require_rights()
        revision, counts = deployment.revision, deployment.counts()
        images = ", ".join(containers(deployment.spec.template).values())
        return (
            f"deployment {self.config.deployment}, revision {revision}, {counts}; "
            f"an undo goes back to its image: {images}"
        )

    def _wait(self, revision: str, ours: _Deployment, deadline: float) -> Running:
        left = max(1, int(deadline - self.config.settle.seconds - time.monotonic()))
        argv = status_command(self.config, revision=revision, within_seconds=left)
        try:
            process.run(argv, purpose=self.purpose, within=left + asked_within(self.config))
        except ChildFailed as error:
            now = self._require_ours(ours)
            raise self._failure(now, f"did not roll out: {_error_line(error)}") from error
        return self._settle(revision, ours)

    def _require_ours(self, ours: _Deployment) -> _Deployment:
        """Return the Deployment; StepFailed where somebody else has rolled it out since."""
        now = self._require()
        difference = by_somebody_else(ours.spec.template, now.spec.template)
        if difference or now.metadata.uid != ours.metadata.uid:
            how = difference or "it was deleted and made anew"
            raise self._failure(now, f"was rolled out by somebody else meanwhile: {how}")
        return now

    def _observed(self, generation: int, latest: float) -> _Deployment:
        """Return the Deployment once the cluster has seen the change: until then it has no number.

        `rollout status --revision` would take the revision before for another one's rollout.
        """
        while True:
            now = self._require()
            if now.status.observed_generation >= generation:
                return now
            if time.monotonic() >= latest:
                raise self._failure(now, "is not looked after: no controller has seen the change")
            time.sleep(POLL)

    def _numbered(self, ours: _Deployment, latest: float) -> str:
        """Return the revision of a restart, once its ReplicaSet is there.

        With `strategy: Recreate` the cluster has seen the change before: it ends the old pods
        first, and until then the Deployment has the number of the revision before.
        """
        while True:
            self._observed(ours.metadata.generation, latest)
            now = self._require_ours(ours)
            for item in self._items("replicasets", now):
                notes = item["metadata"].get("annotations", {})
                begun = stamp(item["spec"]["template"]) == stamp(ours.spec.template)
                if begun and notes.get(REVISION) == now.revision:
                    return now.revision
            if time.monotonic() >= latest:
                raise self._failure(now, "did not begin with new pods: the old ones do not end")
            time.sleep(POLL)

    def _settle(self, revision: str, ours: _Deployment) -> Running:
        """Return when nothing moved for the settle time: no other rollout, no pod restarted."""
        until = time.monotonic() + self.config.settle.seconds
        restarts: int | None = None
        while True:
            asked = time.monotonic()
            now = self._require_ours(ours)
            if now.revision != revision:
                raise self._failure(now, f"went on to revision {now.revision} meanwhile")
            if not now.rolled_out:
                raise self._failure(now, f"did not stay up for {self.config.settle}")
            seen = self._restarts(now)
            if restarts is not None and seen > restarts:
                raise self._failure(now, "has pods that restart")
            restarts = seen
            if asked >= until:
                return self._as_running(now)
            time.sleep(POLL)

    def _as_running(self, deployment: _Deployment) -> Running:
        return Running(
            # Not its generation: an autoscaler counts that up without any restart.
            instance=f"{deployment.metadata.uid}/{deployment.revision}",
            version=deployment.revision,
            detail=f"revision {deployment.revision}, {deployment.counts()}",
        )

    def _require_serving(self) -> _Deployment:
        """Return the Deployment; StepFailed where a rollout could not be verified."""
        deployment = self._require()
        target = f"deployment/{self.config.deployment}"
        if deployment.spec.paused:
            raise self._refusal("is paused", "rollout", "resume", target)
        if deployment.spec.replicas == 0:
            raise self._refusal("is scaled to 0: no pod serves", "scale", "--replicas=1", target)
        return deployment

    def _refusal(self, how: str, *next_step: str) -> StepFailed:
        return StepFailed(
            f"deployment {self.config.deployment} {how}",
            state="nothing was restarted",
            next_step=shlex.join(kubectl_command(self.config, *next_step)),
        )

    def _require(self) -> _Deployment:
        deployment = self._find()
        if deployment is None:
            where = f"does not exist in namespace {self.config.namespace}"
            raise self._refusal(where, "get", "deployments")
        return deployment

    def _find(self) -> _Deployment | None:
        # With the flag a missing one prints nothing; any other failure exits 1.
        argv = ("get", "deployment", self.config.deployment, "--ignore-not-found", "--output=json")
        text = self._ask(*argv)
        return msgspec.json.decode(text, type=_Deployment) if text.strip() else None

    def _number_now(self, deployment: _Deployment, version: str) -> str:
        """Return the number that a revision has today; StepFailed where the history lacks it."""
        sets = [
            item["metadata"].get("annotations", {})
            for item in self._items("replicasets", deployment)
            if any(
                owner.get("uid") == deployment.metadata.uid
                for owner in item["metadata"].get("ownerReferences", [])
            )
        ]
        for notes in sets:
            if version and version == notes.get(REVISION):
                return version
        for notes in sets:
            if version and version in notes.get(EARLIER, "").split(","):
                return str(notes[REVISION])
        known = ", ".join(sorted((n[REVISION] for n in sets if REVISION in n), key=int))
        raise self._refusal(
            f'has no revision "{version}"; its history has {known or "nothing"}',
            "rollout",
            "history",
            f"deployment/{self.config.deployment}",
        )

    def _items(self, kind: str, deployment: _Deployment) -> list[dict[str, Any]]:
        """Return what the Deployment's selector finds of a kind."""
        text = self._ask("get", kind, f"--selector={deployment.spec.selector}", "--output=json")
        items: list[dict[str, Any]] = msgspec.json.decode(text)["items"]
        return items

    def _restarts(self, deployment: _Deployment) -> int:
        return sum(
            container.get("restartCount", 0)
            for pod in self._items("pods", deployment)
            for container in pod.get("status", {}).get("containerStatuses", [])
        )

    def _require_rights(self) -> None:
        """Ask the cluster for each right; StepFailed, with a Role to copy, where one is missing."""
        config = self.config
        missing = [
            " ".join(right.question(config.deployment))
            for right in RIGHTS
            if right.needed and not self._may(*right.question(config.deployment))
        ]
        if missing:
            raise StepFailed(
                f"{self.name}: no right to {', '.join(missing)} in namespace {config.namespace}",
                state="nothing was restarted",
                next_step="apply this Role, and bind it to the user of the kubeconfig:\n"
                + role(config.deployment, config.namespace),
            )

    def _may(self, verb: str, what: str) -> bool:
        argv = kubectl_command(self.config, "auth", "can-i", verb, what)
        within = asked_within(self.config)
        answer = process.run(argv, purpose=self.purpose, within=within, check=False)
        if not answer.stdout.startswith(("yes", "no")):
            lines = answer.stderr.splitlines() or [f"status {answer.code}"]
            raise Unreachable(
                redact(f"{self.name}: kubectl auth can-i gave no answer: {lines[-1]}"),
                state="whether the rights are there is not known; nothing was restarted",
                next_step=shlex.join(argv),
            )
        return answer.stdout.startswith("yes")

    def _change(self, announce: process.Announce, *arguments: str) -> str:
        try:
            return process.run(
                kubectl_command(self.config, "rollout", *arguments),
                purpose=self.purpose,
                within=asked_within(self.config),
                announce=announce,
            ).stdout
        except ChildFailed as error:
            raise StepFailed(
                f"{self.name}: {_error_line(error)}",
                state="whether the rollout was changed is not known"
                if error.code is None
                else "the rollout was not changed",
                next_step=next_step(
                    error, shlex.join(kubectl_command(self.config, "rollout", *arguments))
                ),
            ) from error

    def _ask(self, *arguments: str) -> str:
        argv = kubectl_command(self.config, *arguments)
        try:
            return process.run(argv, purpose=self.purpose, within=asked_within(self.config)).stdout
        except ChildFailed as error:
            # kubectl exits 1 for whatever it was: its message is all there is.
            raise Unreachable(
                f"{self.name}: {_error_line(error)}",
                state="nothing is known of the deployment",
                next_step=next_step(error, shlex.join(argv)),
            ) from error

    def _failure(self, deployment: _Deployment, how: str) -> StepFailed:
        return StepFailed(
            redact(
                f"deployment {self.config.deployment} {how}; {deployment.counts()}; "
                f"{self._why(deployment)}"
            ),
            state="the service may be partly down",
            next_step=shlex.join(
                kubectl_command(self.config, "describe", "deployment", self.config.deployment)
            ),
        )

    def _why(self, deployment: _Deployment) -> str:
        """Return what the pods and the last events say, or why they cannot be read."""
        try:
            pods = self._items("pods", deployment)
            events = msgspec.json.decode(self._ask("get", "events", "--output=json"))["items"]
        except Unreachable as error:
            return error.what
        names = {pod["metadata"]["name"] for pod in pods}
        names |= {name.rpartition("-")[0] for name in names} | {self.config.deployment}
        lines = [line for line in map(_pod_line, pods) if line]
        return " | ".join([*lines, *event_lines(events, names)]) or "no pod and no event says why"


def event_lines(events: list[dict[str, Any]], names: set[str]) -> list[str]:
    """Return the last warnings about the named objects; a namespace has others' events too."""
    ours = [
        event
        for event in events
        if event.get("type") != "Normal" and event.get("involvedObject", {}).get("name") in names
    ]
    ours.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    lines = [f"{event.get('reason', '')}: {event.get('message', '')}" for event in ours]
    return lines[-EVENTS_SHOWN:]


def _error_line(error: ChildFailed) -> str:
    """Return kubectl's last line: before it are its library's own, one for each try."""
    return error.stderr.splitlines()[-1] if error.stderr else error.what


def _pod_line(pod: dict[str, Any]) -> str:
    """Return what is wrong with a pod, and how it ended last; empty where it is ready."""
    reasons = []
    for container in pod.get("status", {}).get("containerStatuses", []):
        if container.get("ready"):
            continue
        reasons += [s.get("reason", "not ready") for s in container.get("state", {}).values()]
        last = container.get("lastState", {}).get("terminated")
        reasons += [f"last exit code {last.get('exitCode')}"] if last else []
    return f"pod {pod['metadata']['name']}: {', '.join(reasons)}" if reasons else ""
