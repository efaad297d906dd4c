"""kubectl, the real client against an API server of the tests' own: a rollout is read back."""

from pathlib import Path

import pytest

from ci.config import Duration, KubectlRestart
from ci.errors import StepFailed, Unreachable
from ci.restarters import Running
from ci.restarters.kubectl import Kubectl, command
from tests.fix_kubernetes import Cluster, write_kubeconfig


def driver(within: float = 8, settle: float = 0.5, name: str = "api") -> Kubectl:
    return Kubectl(
        KubectlRestart(deployment=name, settle=Duration(settle), within=Duration(within))
    )


def test_a_restart_is_a_new_revision_that_is_rolled_out(cluster: Cluster) -> None:
    before = driver().running()

    now = driver().restart()

    assert (before.version, now.version) == ("1", "2")
    assert now.instance == "2/2"
    assert now.detail == "revision 2, 2 of 2 pods are new, 2 available"


def test_a_stuck_rollout_fails_in_time_and_says_which_pod(cluster: Cluster) -> None:
    cluster.behaviour = "stuck"

    with pytest.raises(StepFailed) as caught:
        driver(within=2).restart()

    assert "did not roll out" in caught.value.what
    assert "pod api-h1-x1: ImagePullBackOff" in caught.value.what
    assert "Failed: manifest for api:2 not found" in caught.value.what
    assert caught.value.next_step == "kubectl --namespace=default describe deployment api"


def test_a_progress_deadline_ends_the_wait_at_once(cluster: Cluster) -> None:
    cluster.behaviour = "exceeded"

    with pytest.raises(StepFailed, match="exceeded its progress deadline"):
        driver(within=30).restart()


def test_pods_that_restart_within_the_settle_time_fail(cluster: Cluster) -> None:
    cluster.behaviour = "crashing"

    with pytest.raises(StepFailed, match="has pods that restart"):
        driver(settle=2).restart()


def test_a_paused_deployment_is_refused(cluster: Cluster) -> None:
    cluster.deployment["spec"]["paused"] = True

    with pytest.raises(StepFailed) as caught:
        driver().restart()

    assert caught.value.what == "deployment api is paused"
    assert caught.value.next_step == "kubectl --namespace=default rollout resume deployment/api"


def test_it_can_go_back_to_the_revision_that_served_before(cluster: Cluster) -> None:
    before = driver().running()
    cluster.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "api:2"
    driver().restart()

    driver().revert(before)

    template = cluster.deployment["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "api:1"


def test_going_back_to_what_serves_changes_nothing(cluster: Cluster) -> None:
    now = driver().running()

    assert driver().revert(now) == now
    assert cluster.deployment["metadata"]["generation"] == 1


def test_going_back_to_a_revision_that_never_was_fails(cluster: Cluster) -> None:
    driver().restart()

    with pytest.raises(StepFailed, match="unable to find specified revision 99"):
        driver().revert(Running(instance="", version="99"))


def test_a_deployment_that_does_not_exist_is_named(cluster: Cluster) -> None:
    with pytest.raises(Unreachable, match='"nobody" not found'):
        driver(name="nobody").check()


def test_check_says_what_is_there(cluster: Cluster) -> None:
    assert driver().check() == "deployment api, revision 1, 2 of 2 pods are new, 2 available"


def test_a_server_that_refuses_the_connection_is_unreachable(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_kubeconfig(tmp_path, 9, "any")

    with pytest.raises(Unreachable, match="refused"):
        driver().check()


def test_a_wrong_token_is_told_apart(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (tmp_path / "kubeconfig").read_text()
    (tmp_path / "kubeconfig").write_text(text.replace("kube-test-token", "wrong"))

    with pytest.raises(Unreachable, match=r"[Uu]nauthorized|logged in"):
        driver().check()


def test_context_and_namespace_stand_before_the_verb() -> None:
    config = KubectlRestart(deployment="api", namespace="shop", context="prod")

    assert command(config, "get", "pods") == (
        "kubectl", "--context=prod", "--namespace=shop", "get", "pods",
    )  # fmt: skip
