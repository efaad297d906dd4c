"""What a notice says, and how a receiver knows that it is ours. Pure."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from ..config.sections import NoticeConfig
from ..model import Notice, Plan

TIMESTAMP, SIGNATURE = "X-Windlass-Timestamp", "X-Windlass-Signature"
VERSION = "v1"
MARKS = {
    "started": ":hourglass:",
    "waiting": ":raised_hand:",
    "done": ":white_check_mark:",
    "failed": ":x:",
    "paused": ":double_vertical_bar:",
}
LONGEST = 3000  # characters of a text, as Slack takes them


def task_of(plan: Plan) -> str:
    """Return the task that a plan is of, as it is typed: deploy, rollback, restore, stamp."""
    if plan.correction is not None:
        return plan.correction.verb
    return "deploy" if plan.direction == "up" else "rollback"


def words_of(plan: Plan) -> str:
    """Return what a plan does, in a few words."""
    if plan.correction is not None:
        return f"{plan.correction.verb} in {plan.environment}"
    name = "deployment" if plan.direction == "up" else "rollback"
    return f"{name} of {len(plan.migrations)} migrations to {plan.environment}"


def is_wanted(config: NoticeConfig, notice: Notice) -> bool:
    """Tell whether a receiver is told this; one without a URL is told nothing."""
    return bool(config.url.reveal()) and notice.event in config.on


def body_of(config: NoticeConfig, notice: Notice) -> bytes:
    """Return what is sent: the document, or what Slack and those like it show."""
    if config.format == "json":
        return notice.canonical()
    parts = [f"{MARKS[notice.event]} {notice.text}"]
    if notice.next_step:
        parts.append(f"next: {notice.next_step}")
    if notice.ci_run:
        parts.append(notice.ci_run)
    return json.dumps({"text": _as_slack("\n".join(parts))[:LONGEST]}).encode()


def _as_slack(text: str) -> str:
    """Return a text in which nothing is a link, a mention or a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def headers_of(config: NoticeConfig, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers of a notice; with a secret its signature, over `TIMESTAMP.BODY`."""
    headers = {"Content-Type": "application/json"}
    secret = config.secret.reveal() if config.secret is not None else ""
    if not secret:
        return headers
    timestamp = str(int(now.timestamp()))
    signed = signature(secret, timestamp, body)
    return headers | {TIMESTAMP: timestamp, SIGNATURE: f"{VERSION}={signed}"}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of a notice, as 64 hex digits."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def telemetry_wanted(variables: dict[str, str]) -> bool:
    """Tell whether spans are to be sent, by OpenTelemetry's own variables."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return (
        any(variables.get(name) for name in endpoints)
        and variables.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and variables.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"
    )


def attributes_of(facts: dict[str, Any]) -> dict[str, str | int]:
    """Return the attributes of a span: ours have one prefix, and none is empty."""
    return {
        f"windlass.{name}": value if isinstance(value, int) else str(value)
        for name, value in facts.items()
        if value not in (None, "")
    }
