"""What a notice says, and its signature."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pgwindlass.config.sections import NoticeConfig
from pgwindlass.model import Notice
from pgwindlass.plan import notice
from pgwindlass.secret import OptionalSecret
from tests.unit.examples import correction, plan

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
DONE = Notice(
    event="done",
    text="deployment <!channel> & more is done",
    project="shop",
    environment="uat",
    tier="acceptance",
    deployment="d1",
    plan_digest="ab",
    direction="up",
    migrations=("a",),
    at=NOW,
    by="ann@ci-7",
    commit="",
    ci_run="https://ci/1",
    next_step="invoke status --env uat",
)


def config(**keys: Any) -> NoticeConfig:
    return NoticeConfig(**{"url": OptionalSecret("https://hooks/1"), **keys})


def test_the_plain_form_is_the_document_and_slacks_is_a_text_without_links() -> None:
    document = json.loads(notice.body_of(config(), DONE))
    text = json.loads(notice.body_of(config(format="slack"), DONE))["text"]

    assert (document["event"], document["environment"], document["format"]) == ("done", "uat", 1)
    assert text.splitlines() == [
        ":white_check_mark: deployment &lt;!channel&gt; &amp; more is done",
        "next: invoke status --env uat",
        "https://ci/1",
    ]


def test_a_secret_signs_the_time_and_the_body() -> None:
    body = b'{"a":1}'
    signed = notice.headers_of(config(secret=OptionalSecret("s3cret-key")), body, NOW)
    expected = hmac.new(b"s3cret-key", b"1795177800." + body, hashlib.sha256).hexdigest()

    assert signed[notice.TIMESTAMP] == "1795177800"
    assert signed[notice.SIGNATURE] == f"v1={expected}"
    assert notice.headers_of(config(), body, NOW) == {"Content-Type": "application/json"}


def test_a_receiver_is_told_what_it_asks_for() -> None:
    assert notice.is_wanted(config(), DONE)
    assert not notice.is_wanted(config(on=("failed",)), DONE)
    assert not notice.is_wanted(config(url=OptionalSecret("")), DONE)
    with pytest.raises(ValueError, match="url is no http"):
        config(url=OptionalSecret("file:///etc"))


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_spans_are_sent_where_the_standard_variables_ask_for_it(
    variables: dict[str, str], wanted: bool
) -> None:
    assert notice.telemetry_wanted(variables) is wanted


def test_attributes_have_our_prefix_and_no_empty_value() -> None:
    attributes = notice.attributes_of(
        {"a": "x", "b": "", "c": None, "d": 0, "e": False, "f": Path("/x"), "g": 1.5}
    )

    assert attributes == {
        "windlass.a": "x",
        "windlass.d": 0,
        "windlass.e": False,
        "windlass.f": "/x",
        "windlass.g": "1.5",
    }


def test_a_plan_is_told_by_its_task() -> None:
    up, down = plan(environment="uat"), plan(environment="uat", direction="down")
    beside = plan(environment="uat", migrations=(), correction=correction("x", verb="stamp"))

    assert [notice.task_of(each) for each in (up, down, beside)] == ["deploy", "rollback", "stamp"]
    assert [notice.words_of(each) for each in (up, down, beside)] == [
        f"deployment of {len(up.migrations)} migrations to uat",
        f"rollback of {len(up.migrations)} migrations to uat",
        "stamp in uat",
    ]
