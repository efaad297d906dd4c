"""Whose rollout is it?"""

from typing import Any

import pytest

from pgwindlass.restarters.rollouts import RESTARTED, by_somebody_else, stamp

pytestmark = pytest.mark.unit


def template(image: str = "api:1", at: str = "", **labels: str) -> dict[str, Any]:
    annotations = {"annotations": {RESTARTED: at}} if at else {}
    containers = [{"name": "api", "image": image}]
    return {"metadata": {"labels": labels, **annotations}, "spec": {"containers": containers}}


def test_an_equal_template_is_ours() -> None:
    assert by_somebody_else(template(at="T1"), template(at="T1")) == ""


def test_nulls_and_empty_objects_make_no_difference() -> None:
    now = template(at="T1")
    now["metadata"]["creationTimestamp"] = None
    now["spec"]["containers"][0]["resources"] = {}

    assert by_somebody_else(template(at="T1"), now) == ""


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        (template(at="T2"), "restartedAt T2 instead of T1"),
        (template(), "restartedAt none instead of T1"),
        (template("api:2", "T1"), "image api:2 of container api instead of api:1"),
        (
            template("api:2", "T2"),
            "image api:2 of container api instead of api:1, restartedAt T2 instead of T1",
        ),
        (template(at="T1", tier="web"), "another pod template"),
        ({}, "image none of container api instead of api:1, restartedAt none instead of T1"),
    ],
)
def test_what_is_not_ours_is_named(now: dict[str, Any], difference: str) -> None:
    assert by_somebody_else(template(at="T1"), now) == difference


def test_a_new_container_is_named() -> None:
    now = template()
    now["spec"] = {"containers": [*now["spec"]["containers"], {"name": "log", "image": "log:1"}]}

    assert by_somebody_else(template(), now) == "image log:1 of container log instead of none"


def test_a_template_without_annotations_was_never_restarted() -> None:
    assert stamp({"metadata": {"annotations": None}}) == ""
    assert stamp({}) == ""
