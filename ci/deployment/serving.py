"""What serves now: which version it is, and what it answers before anything is changed."""

from .. import git
from ..config.sections import ServiceConfig
from ..errors import ConfigError, WindlassError, changed, more
from ..model import Evidence, Plan, Status, StepName, StepResult
from ..plan import probe
from ..plan.probe import Tally
from ..rehearsal import trials
from ..rehearsal.service import ServiceBench
from ..rehearsal.trials import Old
from .journal import newest_deployments
from .work import Work

SERVING = "serving"  # of old.image: that of the running container
LOOKED_BACK = 100  # deployments
ASKED_WITHIN = 5.0  # seconds for one round of the smoke tests before anything is changed
BEFORE = "smoke_before"  # the evidence of what they gave; "right" where all held
RIGHT = "right"
FIRST_HERE = "smoke_first"  # the evidence that no deployment here has ended well before
FIRST = "first deployment: nothing was deployed here before"


def bench(work: Work) -> ServiceBench | None:
    """Return how the service is tried on a copy; None where deploy.yml does not ask for it.

    Raises:
        ConfigError: there is nothing to ask the service.

    """
    config = work.settings.shared.rehearsal.service
    if config is None:
        return None
    checks = trials.checks_of(config, work.settings.environment.smoke)
    if not checks:
        raise ConfigError(
            "rehearsal.service has nothing to ask: no checks of its own, and the environment has "
            "none without headers, which may hold a secret",
            next_step="write checks under rehearsal.service, such as [{get: /health}]",
        )
    restart = work.settings.environment.restart
    host = restart.docker_host if restart is not None else ""
    return ServiceBench(
        config=config,
        checks=checks,
        old=_old(config, work),
        root=work.settings.root,
        docker={"DOCKER_HOST": host} if host else {},
    )


def _old(config: ServiceConfig, work: Work) -> Old:
    """Return the version that serves now, as deploy.yml names it, or as it is known."""
    old = config.old
    if old.image == SERVING:
        image = work.restarter.running().image if work.restarter is not None else ""
        return Old(image=image, run=old.run) if image else Old(absent="no container serves now")
    if old.image or (old.run and not old.commit):
        return Old(image=old.image, run=old.run)
    named = old.commit or deployed_commit(work)
    if not named:
        return Old(absent="the journal knows no commit that was deployed here")
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{named}^{{commit}}")
    commit = git.read_or_none(work.settings.root, *asked)
    if not commit:
        return Old(absent=f"the commit {named[:40]} is not in this checkout: fetch it")
    return Old(commit=commit, run=old.run)


def answers_before(plan: Plan, work: Work) -> Evidence:
    """Ask the service once before anything is changed, so that an older fault is known as one."""
    smoke = work.settings.environment.smoke
    if smoke is None or not plan.has(StepName.SMOKE):
        return ()
    from ..smoke import ask_once  # requests takes 0.1 s to import

    problem = ask_once(smoke, within=ASKED_WITHIN).problem
    if not problem:
        return ((BEFORE, RIGHT),)
    if any(each.status is Status.DEPLOYED for each in newest_deployments(work.database)):
        work.reporter.note(f"the service fails its smoke tests already: {problem}")
        return ((BEFORE, problem),)
    return ((BEFORE, f"{FIRST}, and nothing answers right: {problem}"), (FIRST_HERE, "yes"))


def with_answers_before(error: WindlassError, results: list[StepResult]) -> WindlassError:
    """Return a smoke test's failure with what the service answered before this deployment."""
    if error.step != StepName.SMOKE:
        return error
    before = next((value for each in results if (value := each.get(BEFORE))), "")
    if not before:
        return error
    if before == RIGHT:
        told = "before this deployment the same tests held"
    elif any(each.get(FIRST_HERE) for each in results):
        told = before
    else:
        told = f"it was failing already before this deployment: {before}"
    return changed(error, state="; ".join(part for part in (error.own, told) if part))


def with_losses(error: WindlassError, counted: Tally | None) -> WindlassError:
    """Return an error with how many requests were lost since the restart began, where counted."""
    if counted is None:
        return error
    told = f"since the restart began the service {counted}"
    return more(error, told)


def warn_of_losses(work: Work, counted: Tally | None) -> None:
    """Raise the alarm where a restart that is over lost more requests than it may.

    It fails nothing: a rollback would restart the service once more, and lose as many again.
    """
    restart = work.settings.environment.restart
    limit = restart.lost_at_most if restart is not None else None
    if counted is not None and probe.exceeds(counted, limit):
        work.reporter.alarm(
            f"the service {counted} while it restarted; restart.lost_at_most is {limit}"
        )


def deployed_commit(work: Work) -> str:
    """Return the commit of the last deployment that ended well; empty where none is known."""
    deployments = newest_deployments(work.database, limit=LOOKED_BACK)
    ended = (each for each in deployments if each.status is Status.DEPLOYED)
    return next((each.origin.commit or "" for each in ended if each.direction == "up"), "")
