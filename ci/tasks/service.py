"""The verbs of one step alone: restart, smoke, verify."""

from typing import TYPE_CHECKING

from invoke.context import Context

from .task import Answer, opened, verb

if TYPE_CHECKING:
    pass


@verb()
def restart(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Restart the service, and prove that it did."""
    from ..deployment import one_step

    with opened(env) as work:
        now = one_step.restart(work)
    return now, f"{now.detail or 'restarted'}: {now.instance}"


@verb()
def smoke(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Run the smoke tests against the service."""
    from ..deployment import one_step

    with opened(env) as work:
        found = one_step.smoke(work)
    return found, f"{found.checks} checks, slowest {found.slowest * 1000:.0f} ms"


@verb()
def verify(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Run the verify scripts of every applied migration. Reads only."""
    from ..deployment import one_step

    with opened(env) as work:
        count = one_step.verify(work)
    return {"scripts": count}, f"{count} verify scripts hold"
