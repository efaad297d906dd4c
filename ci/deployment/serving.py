"""What serves now: which version it is, and what it answers before anything is changed."""

from .. import git
from ..config.sections import ComposeRestart, DockerRestart, ServiceConfig
from ..errors import ConfigError
from ..model import Status
from ..rehearsal import trials
from ..rehearsal.service import ServiceBench
from ..rehearsal.trials import Old
from .journal import newest_deployments
from .work import Work

SERVING = "serving"  # of old.image: that of the running container
LOOKED_BACK = 100  # deployments


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
    host = restart.host if isinstance(restart, DockerRestart | ComposeRestart) else ""
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


def deployed_commit(work: Work) -> str:
    """Return the commit of the last deployment that ended well; empty where none is known."""
    deployments = newest_deployments(work.database, limit=LOOKED_BACK)
    ended = (each for each in deployments if each.status is Status.DEPLOYED)
    return next((each.origin.commit or "" for each in ended if each.direction == "up"), "")
