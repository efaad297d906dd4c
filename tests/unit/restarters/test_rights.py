"""What kubectl may have to do, and the Role that allows it."""

import textwrap
from pathlib import Path

import pytest
import yaml

from pgwindlass.restarters.rights import RIGHTS, Right, role

pytestmark = pytest.mark.unit
PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_a_question_names_the_deployment_where_the_right_is_for_it_alone() -> None:
    assert Right("get", "deployments.apps", named=True).question("api") == (
        "get",
        "deployments.apps/api",
    )
    assert Right("list", "pods").question("api") == ("list", "pods")


def test_the_role_has_every_right_and_no_other() -> None:
    document = yaml.safe_load(role("api", "shop"))

    granted = {
        (verb, f"{resource}.{group}" if group else resource, "resourceNames" in rule)
        for rule in document["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
    }
    assert granted == {(right.verb, right.resource, right.named) for right in RIGHTS}
    assert document["rules"][0]["resourceNames"] == ["api"]
    assert document["metadata"] == {"name": "windlass", "namespace": "shop"}


def test_only_the_events_can_be_done_without() -> None:
    assert [right.resource for right in RIGHTS if not right.needed] == ["events"]


def test_the_page_shows_the_role() -> None:
    assert textwrap.indent(role("todo-backend", "default"), "    ") in PAGE.read_text()
