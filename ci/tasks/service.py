"""The verbs of one step alone: restart, smoke, verify."""

from .task import Answer, opened, verb


@verb()
def restart(env: str = "") -> Answer:
    """Restart the service, and prove that it did."""
    from ..deployment import one_step

    with opened(env, changes="restart") as work:
        running = one_step.restart_service(work)
    return Answer(running, f"{running.detail}: {running.instance}")


@verb()
def smoke(env: str = "") -> Answer:
    """Run the smoke tests against the service."""
    from ..deployment import one_step

    with opened(env) as work:
        report = one_step.run_smoke_tests(work)
    return Answer(report, f"{report.checks} checks, slowest {report.slowest * 1000:.0f} ms")


@verb()
def verify(env: str = "") -> Answer:
    """Run the verify scripts of every applied migration. Reads only."""
    from ..deployment import one_step

    with opened(env) as work:
        count = one_step.run_verify_scripts(work)
    return Answer({"scripts": count}, f"{count} verify scripts hold")
