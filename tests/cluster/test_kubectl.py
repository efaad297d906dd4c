"""The kubectl driver against a real control plane: rollouts, rights, somebody else's rollout."""

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import KubectlRestart
from pgwindlass.errors import StepFailed
from pgwindlass.restarters.kubectl import Kubectl
from pgwindlass.restarters.rights import role
from tests.cluster.conftest import ControlPlane, Json
from tests.fix_kubernetes import write_kubeconfig

BROKEN = "api:broken"
ROLLING: Json = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}


def deployment(strategy: Json, image: str = "api:1") -> Json:
    labels = {"app": "api"}
    container = {"name": "api", "image": image}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api"},
        "spec": {
            "replicas": 2,
            "strategy": strategy,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


@pytest.fixture
def plane(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    """Return the cluster without the Deployment of the test before; kubectl is pointed at it."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.home / "kubeconfig"))
    monkeypatch.setenv("HOME", str(control_plane.home))
    control_plane.never_ready = {BROKEN}
    control_plane.kubectl("delete", "deployment", "--all", "--cascade=foreground")
    return control_plane


def serve(plane: ControlPlane, strategy: Json = ROLLING) -> None:
    plane.apply(deployment(strategy))
    plane.kubectl("rollout", "status", "deployment/api", "--timeout=50s")


def driver(within: float = 60, settle: float = 1) -> Kubectl:
    return Kubectl(
        KubectlRestart(deployment="api", settle=Duration(settle), within=Duration(within))
    )


@pytest.mark.parametrize("strategy", [ROLLING, {"type": "Recreate"}], ids=["rolling", "recreate"])
def test_a_restart_is_a_new_revision_each_time(plane: ControlPlane, strategy: Json) -> None:
    serve(plane, strategy)

    assert [driver().restart().version for _ in range(3)] == ["2", "3", "4"]


def test_pods_that_never_become_ready_fail_and_the_former_revision_is_put_back(
    plane: ControlPlane,
) -> None:
    serve(plane)
    before = driver().running()
    plane.kubectl("set", "image", "deployment/api", f"api={BROKEN}")

    with pytest.raises(StepFailed, match="did not roll out"):
        driver(within=6).restart()
    now = driver().revert(before)

    template = json.loads(plane.kubectl("get", "deployment", "api", "-o", "json"))
    assert template["spec"]["template"]["spec"]["containers"][0]["image"] == "api:1"
    assert driver().revert(before).version == now.version


def test_somebody_elses_rollout_meanwhile_is_named(plane: ControlPlane) -> None:
    serve(plane)

    def release() -> None:
        while driver().running().version != "2":
            time.sleep(0.1)
        plane.kubectl("set", "image", "deployment/api", "api=api:9")

    threading.Thread(target=release, daemon=True).start()

    with pytest.raises(StepFailed, match="by somebody else meanwhile: image api:9 of container"):
        driver(settle=20).restart()


def test_a_paused_deployment_is_refused(plane: ControlPlane) -> None:
    serve(plane)
    plane.kubectl("rollout", "pause", "deployment/api")

    with pytest.raises(StepFailed, match="deployment api is paused"):
        driver().restart()


def as_account(plane: ControlPlane, rights: str, tmp_path: Path) -> None:
    """Point kubectl at the cluster as a service account with a Role, and no other right."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "windlass"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "windlass"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "default"}],
    }
    plane.apply(account, yaml.safe_load(rights), binding)
    token = plane.kubectl("create", "token", "deployer").strip()
    write_kubeconfig(tmp_path, plane.port, token)


def test_the_printed_role_is_enough_to_restart_and_to_go_back(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(plane)
    as_account(plane, role("api", "default"), tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    before = driver().running()

    assert driver().check().startswith("deployment api, revision 1")
    assert driver().restart().version == "2"
    assert driver().revert(before).version == "3"


@pytest.mark.parametrize(
    ("granted", "without", "missing"),
    [
        (", patch]", "]", "patch deployments.apps/api"),
        (", watch", "", "watch deployments.apps/api"),
        ("resources: [replicasets]", "resources: [daemonsets]", "list replicasets.apps"),
        ("[pods, events]", "[events]", "list pods"),
    ],
)
def test_a_role_with_less_is_told_before_anything_changes(
    plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    granted: str,
    without: str,
    missing: str,
) -> None:
    serve(plane)
    as_account(plane, role("api", "default").replace(granted, without), tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    with pytest.raises(StepFailed) as caught:
        driver().check()

    assert f"no right to {missing} in namespace default" in caught.value.what
    assert role("api", "default") in caught.value.next_step


def test_a_killed_restart_is_begun_anew_while_its_rollout_is_under_way(
    plane: ControlPlane,
) -> None:
    serve(plane)
    argv = ["kubectl", "rollout", "restart", "deployment/api"]
    subprocess.run(argv, check=True, capture_output=True)  # what a killed run left behind
    time.sleep(1.1)  # kubectl refuses a second restart within the same second

    assert driver().restart().version == "3"
