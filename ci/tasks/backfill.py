"""The verbs of backfills that are jobs of their own: run, status, pause, resume, cancel."""

from invoke.collection import Collection

from ..report.backfill import backfills_exit, backfills_text
from .task import Answer, opened, verb

NAME = "a migration (default: each whose backfill is open)"


@verb(name=NAME)
def backfill_run(env: str = "", name: str = "", *, show_queries: bool = False) -> Answer:
    """Run the backfills that deployments left as jobs, to their end."""
    from ..deployment import backfills

    with opened(env, show_queries=show_queries, changes="backfill.run") as work:
        ended = backfills.run(work, name)
    return Answer(backfills.document(ended), backfills_text(env, ended), backfills_exit(ended))


@verb()
def backfill_status(env: str = "") -> Answer:
    """Show the backfills, how far each is and how fast; exits 0, or 1 where one is open."""
    from ..deployment import backfills

    with opened(env) as work:
        report = backfills.report(work)
    text = backfills_text(env, report.backfills, holder=report.lock)
    return Answer(report, text, backfills_exit(report.backfills))


@verb(name=NAME, reason="why; it is recorded")
def backfill_pause(env: str = "", name: str = "", reason: str = "") -> Answer:
    """Let a backfill rest behind its batch; a job gives the deployment lock back."""
    return _ask(env, "pause", name, reason)


@verb(name=NAME, reason="why; it is recorded")
def backfill_resume(
    env: str = "", name: str = "", reason: str = "", *, show_queries: bool = False
) -> Answer:
    """Let a paused backfill go on, or by its name a cancelled job; a job runs here to its end."""
    from ..deployment import backfills

    with opened(env, show_queries=show_queries, changes="backfill.resume") as work:
        states = backfills.ask(work, "", name, reason)
        if any(state.job for state in states):
            states = backfills.run(work, name)
    return Answer(backfills.document(states), backfills_text(env, states), backfills_exit(states))


@verb(name=NAME, reason="why; it is recorded (required)")
def backfill_cancel(env: str = "", name: str = "", reason: str = "") -> Answer:
    """Give a backfill up; what its batches changed stays."""
    return _ask(env, "cancel", name, reason)


def _ask(env: str, wish: str, name: str, reason: str) -> Answer:
    from ..deployment import backfills

    with opened(env, changes=f"backfill.{wish}") as work:
        states = backfills.ask(work, wish, name, reason)
    return Answer(backfills.document(states), backfills_text(env, states))


backfill_tasks = Collection("backfill")
backfill_tasks.add_task(backfill_run, name="run")
backfill_tasks.add_task(backfill_status, name="status", default=True)
backfill_tasks.add_task(backfill_pause, name="pause")
backfill_tasks.add_task(backfill_resume, name="resume")
backfill_tasks.add_task(backfill_cancel, name="cancel")
