"""What the kubectl driver may have to do in a cluster, and the Role that allows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource.

    resource: with its API group where it has one, as `kubectl auth can-i` takes it.
    named: on the Deployment alone; False: on every object of the namespace.
    needed: False: only the text of an error uses it.
    """

    verb: str
    resource: str
    named: bool = False
    needed: bool = True

    def question(self, name: str) -> tuple[str, str]:
        """Return the verb and the object as `kubectl auth can-i` takes them."""
        return (self.verb, f"{self.resource}/{name}" if self.named else self.resource)


# `rollout status` lists and watches the one Deployment by its name; `rollout undo` and the numbers
# of the revisions need the ReplicaSets; the settle time counts the restarts of the pods.
RIGHTS = (
    Right("get", "deployments.apps", named=True),
    Right("list", "deployments.apps", named=True),
    Right("watch", "deployments.apps", named=True),
    Right("patch", "deployments.apps", named=True),
    Right("list", "replicasets.apps"),
    Right("list", "pods"),
    Right("list", "events", needed=False),
)


def role(deployment: str, namespace: str) -> str:
    """Return a Role with exactly these rights, as YAML that `kubectl apply` takes."""
    verbs = ", ".join(right.verb for right in RIGHTS if right.named)
    return f"""\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: windlass, namespace: {namespace}}}
rules:
- {{apiGroups: [apps], resources: [deployments], resourceNames: [{deployment}], verbs: [{verbs}]}}
- {{apiGroups: [apps], resources: [replicasets], verbs: [list]}}
- {{apiGroups: [""], resources: [pods, events], verbs: [list]}}
"""
