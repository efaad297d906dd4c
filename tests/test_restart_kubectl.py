"""kubectl, the real client against an API server of the tests' own: a rollout is read back."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import KubectlRestart
from pgwindlass.errors import StepFailed, Unreachable
from pgwindlass.restarters import Running
from pgwindlass.restarters.kubectl import (
    Kubectl,
    _Expression,
    _Selector,
    event_lines,
    kubectl_command,
    status_command,
)
from pgwindlass.restarters.rights import role
from pgwindlass.restarters.rollouts import RESTARTED
from tests.fix_kubernetes import Cluster, write_kubeconfig
from tests.kit import parts

pytestmark = pytest.mark.sampled(2)


def driver(within: float = 8, settle: float = 0.5, name: str = "api") -> Kubectl:
    return Kubectl(
        KubectlRestart(deployment=name, settle=Duration(settle), within=Duration(within))
    )


def test_a_restart_is_a_new_revision_that_is_rolled_out(cluster: Cluster) -> None:
    before = driver().running()

    now = driver().restart()

    assert (before.version, now.version) == ("1", "2")
    assert (before.instance, now.instance) == ("d-1/1", "d-1/2")
    assert now.detail == "revision 2, 2 of 2 pods are new, 2 available"


def test_a_recreated_deployment_has_its_revision_when_the_old_pods_have_ended(
    cluster: Cluster,
) -> None:
    cluster.deployment["spec"]["strategy"] = {"type": "Recreate"}
    cluster.ending = 0.6

    now = driver().restart()

    assert (now.version, now.instance) == ("2", "d-1/2")


def test_old_pods_that_do_not_end_are_named(cluster: Cluster) -> None:
    cluster.deployment["spec"]["strategy"] = {"type": "Recreate"}
    cluster.ending = 60

    with pytest.raises(StepFailed, match="did not begin with new pods: the old ones do not end"):
        driver(within=2).restart()


def test_a_stuck_rollout_fails_in_time_and_says_which_pod(cluster: Cluster) -> None:
    cluster.behaviour = "stuck"

    with pytest.raises(StepFailed) as caught:
        driver(within=2).restart()

    assert caught.value.what == (
        "deployment api did not roll out: error: timed out waiting for the condition; "
        "1 of 2 pods are new, 2 available; pod api-h2-x1: ImagePullBackOff | "
        "BackOff: back-off pulling | Failed: manifest for api:2 not found"
    )
    assert caught.value.state == "the service may be partly down"
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


def test_a_deployment_without_pods_is_refused_for_nothing_would_serve(cluster: Cluster) -> None:
    cluster.deployment["spec"]["replicas"] = 0

    with pytest.raises(StepFailed) as caught:
        driver().check()

    assert caught.value.what == "deployment api is scaled to 0: no pod serves"
    assert caught.value.next_step == (
        "kubectl --namespace=default scale --replicas=1 deployment/api"
    )


def test_a_controller_that_sees_nothing_fails_and_the_old_pods_prove_nothing(
    cluster: Cluster,
) -> None:
    cluster.lag = 600

    with pytest.raises(StepFailed, match="no controller has seen the change"):
        driver(within=1.5).restart()


def in_the_settle_time(cluster: Cluster, act: Callable[[], object]) -> None:
    """Act a second after the controller has seen the restart."""

    def wait() -> None:
        while cluster.current()["status"]["observedGeneration"] < 2:
            time.sleep(0.02)
        time.sleep(1)
        act()

    threading.Thread(target=wait, daemon=True).start()


def test_an_autoscaler_in_the_settle_time_is_no_other_rollout(cluster: Cluster) -> None:
    in_the_settle_time(cluster, lambda: cluster.scale(3))

    now = driver(settle=2.5).restart()

    assert now.detail == "revision 2, 3 of 3 pods are new, 3 available"
    assert cluster.deployment["metadata"]["generation"] == 3


def release(cluster: Cluster) -> None:
    image = [{"name": "api", "image": "api:9"}]
    change = {"spec": {"template": {"spec": {"containers": image}}}}
    cluster.patch("application/merge-patch+json", change)


def test_another_rollout_in_the_settle_time_is_somebody_elses(cluster: Cluster) -> None:
    in_the_settle_time(cluster, lambda: release(cluster))

    with pytest.raises(StepFailed) as caught:
        driver(settle=3).restart()

    assert caught.value.what.startswith(
        "deployment api was rolled out by somebody else meanwhile: "
        "image api:9 of container api instead of api:1; "
    )


def test_a_restart_by_somebody_else_before_ours_is_numbered_is_never_taken_for_ours(
    cluster: Cluster,
) -> None:
    cluster.lag = 1.5

    def restart() -> None:
        while cluster.deployment["metadata"]["generation"] < 2:
            time.sleep(0.02)
        notes = {RESTARTED: "2030-01-01T00:00:00Z"}
        change = {"spec": {"template": {"metadata": {"annotations": notes}}}}
        cluster.patch("application/merge-patch+json", change)

    threading.Thread(target=restart, daemon=True).start()

    with pytest.raises(StepFailed, match="by somebody else meanwhile: restartedAt 2030-01-01T"):
        driver().restart()


def test_a_missing_right_is_told_before_anything_changes_with_a_role_to_copy(
    cluster: Cluster,
) -> None:
    cluster.denied = {("patch", "deployments"), ("list", "pods")}

    with pytest.raises(StepFailed) as caught:
        driver().check()

    assert caught.value.what == (
        "kubectl deployment/api: no right to patch deployments.apps/api, list pods "
        "in namespace default"
    )
    assert caught.value.next_step.endswith(role("api", "default"))
    assert cluster.deployment["metadata"]["generation"] == 1


def test_a_right_that_only_an_errors_text_uses_is_not_required(cluster: Cluster) -> None:
    cluster.denied = {("list", "events")}

    assert driver().check().startswith("deployment api, revision 1")


def test_it_goes_back_out_of_a_stuck_rollout_and_a_second_time_changes_nothing(
    cluster: Cluster,
) -> None:
    before = driver().running()
    cluster.behaviour = "stuck"
    with pytest.raises(StepFailed):
        driver(within=1.5).restart()

    now = driver().revert(before)

    # The cluster numbers it anew, so that the revision of the journal is nowhere any more.
    assert (before.version, now.version) == ("1", "3")
    assert driver().revert(before) == now
    assert cluster.deployment["metadata"]["generation"] == 3


def test_a_rollback_already_under_way_is_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    before = driver().running()
    cluster.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "api:2"
    driver().restart()
    cluster.seconds = 1.5
    subprocess.run(["kubectl", "rollout", "undo", "deployment/api", "--to-revision=1"], check=True)

    now = driver().revert(before)

    assert now.version == "3"
    assert cluster.deployment["metadata"]["generation"] == 3
    template = cluster.deployment["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "api:1"


def test_going_back_to_what_serves_changes_nothing(cluster: Cluster) -> None:
    now = driver().running()

    assert driver().revert(now) == now
    assert cluster.deployment["metadata"]["generation"] == 1


@pytest.mark.parametrize("version", ["99", ""])
def test_going_back_to_a_revision_that_never_was_is_refused(cluster: Cluster, version: str) -> None:
    with pytest.raises(StepFailed) as caught:
        driver().revert(Running(instance="", version=version))

    assert caught.value.what == f'deployment api has no revision "{version}"; its history has 1'
    assert caught.value.next_step == "kubectl --namespace=default rollout history deployment/api"


def test_a_deployment_that_does_not_exist_is_told_from_a_cluster_that_does_not_answer(
    cluster: Cluster,
) -> None:
    nobody = driver(name="nobody")

    with pytest.raises(StepFailed) as caught:
        nobody.check()

    assert nobody.running() == Running(instance="", detail="no deployment")
    assert not isinstance(caught.value, Unreachable)
    assert parts(caught.value) == (
        "deployment nobody does not exist in namespace default\n"
        "nothing was restarted\n"
        "kubectl --namespace=default get deployments"
    )


def test_check_says_what_is_there(cluster: Cluster) -> None:
    assert driver().check() == (
        "deployment api, revision 1, 2 of 2 pods are new, 2 available; "
        "an undo goes back to its image: api:1"
    )


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


@pytest.mark.unit
def test_context_and_namespace_stand_before_the_verb() -> None:
    config = KubectlRestart(deployment="api", namespace="shop", context="prod")

    assert kubectl_command(config, "get", "pods") == (
        "kubectl",
        "--context=prod",
        "--namespace=shop",
        "get",
        "pods",
    )


@pytest.mark.unit
def test_the_wait_is_for_one_revision_and_has_an_end() -> None:
    argv = status_command(KubectlRestart(deployment="api"), revision="7", within_seconds=30)

    assert argv == (
        "kubectl",
        "--namespace=default",
        "rollout",
        "status",
        "deployment/api",
        "--revision=7",
        "--timeout=30s",
    )


@pytest.mark.unit
def test_a_selector_has_its_expressions_too() -> None:
    selector = _Selector(
        match_labels={"app": "api"},
        match_expressions=(
            _Expression("tier", "In", ("web", "edge")),
            _Expression("canary", "DoesNotExist"),
        ),
    )

    assert str(selector) == "app=api,tier in (web,edge),!canary"


def test_only_the_last_warnings_about_our_own_pods_are_shown(cluster: Cluster) -> None:
    assert event_lines(cluster.events(), {"api", "api-h1", "api-h1-x1"}) == [
        "BackOff: back-off pulling",
        "Failed: manifest for api:2 not found",
    ]
