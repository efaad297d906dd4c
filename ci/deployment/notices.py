"""Tells others by HTTP what becomes of a task. It never fails one: a failure is an alarm."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ..config.sections import NoticeConfig, NoticeOn
from ..errors import WindlassError
from ..model import Notice, Plan
from ..origin import find_origin
from ..plan import notice as rules
from ..secret import redact, remember
from .work import Work

if TYPE_CHECKING:
    from ..connections import Session


def send(
    work: Work,
    event: NoticeOn,
    text: str,
    *,
    plan: Plan | None = None,
    task: str = "",
    error: WindlassError | None = None,
) -> None:
    """Tell everybody who wants to hear of this event. Failures are alarms.

    Args:
        work: the environment.
        event: started, waiting, done, failed or paused.
        text: one sentence for people.
        plan: what is done; None: it has no plan.
        task: as it is typed, of one without a plan.
        error: why it failed.

    """
    receivers = [config for config in work.settings.environment.notices if event in config.on]
    if not any(config.url.reveal() for config in receivers):
        return
    from ..connections import Session  # requests takes 0.1 s to import

    notice = _notice(work, event, text, plan, error)
    notice = msgspec.structs.replace(notice, task=rules.task_of(plan) if plan else task)
    with Session() as session:
        for config in receivers:
            if rules.is_wanted(config, notice):
                _post(work, session, config, notice)


def _notice(
    work: Work, event: NoticeOn, text: str, plan: Plan | None, error: WindlassError | None
) -> Notice:
    origin = find_origin(work.settings.root)
    return Notice(
        event=event,
        text=redact(text),
        project=work.settings.shared.project,
        environment=work.settings.name,
        tier=work.settings.tier,
        deployment=work.deployment_id,
        plan_digest=plan.digest if plan is not None else "",
        direction=plan.direction if plan is not None else "up",
        migrations=tuple(m.name for m in plan.migrations) if plan is not None else (),
        at=datetime.now(UTC),
        by=f"{origin.deployer}@{origin.host}",
        commit=origin.commit or "",
        ci_run=origin.ci_run or "",
        state=redact(error.state) if error is not None else "",
        next_step=redact(error.next_step) if error is not None else "",
    )


def _post(work: Work, session: "Session", config: NoticeConfig, notice: Notice) -> None:
    from requests import RequestException

    from .. import web

    url = config.url.reveal()
    parts = urlsplit(url)
    remember(parts.path)  # alone it lets anybody post, and errors name it
    body = rules.body_of(config, notice)
    headers = rules.headers_of(config, body, datetime.now(UTC))
    try:
        answer = web.fetch(
            session,
            "POST",
            url,
            within=config.within.seconds,
            at_most=64 * 1024,
            data=body,
            headers=headers,
        )
    except (RequestException, web.BadAnswer, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        if answer.code < 300:
            return
        reason = f"it answered {answer.code}"
    work.reporter.alarm(
        redact(f"{parts.hostname} was not told that this is {notice.event}: {reason}")
    )


@contextmanager
def around(work: Work, plan: Plan | None, task: str) -> Iterator[None]:
    """Tell that a plan, or a task without one, runs, and how it ended."""
    what = rules.words_of(plan) if plan is not None else f"{task} in {work.settings.name}"
    of = f", plan {plan.digest[:12]}" if plan is not None else ""
    send(work, "started", f"{what} started{of}", plan=plan, task=task)
    try:
        yield
    except WindlassError as error:
        verdict = {3: "was refused", 4: "failed and was rolled back", 130: "was interrupted"}
        how = verdict.get(error.exit_code, "failed")
        send(work, "failed", f"{what} {how}: {error.what}", plan=plan, task=task, error=error)
        raise
    send(work, "done", f"{what} is done", plan=plan, task=task)
