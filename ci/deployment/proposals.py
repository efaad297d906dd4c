"""What a deployment, a migration and a rollback begin with: a plan, and how to compute it again."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..errors import ConfigError
from ..model import Deployment, Plan, Rehearsal, Unrecorded
from ..origin import find_origin
from ..plan import gate
from ..policy import BREAK_GLASS, SERVICE
from ..report.plan import headline
from . import identity, journal, loop, losses, one_step
from .planner import current_plan, end_orphans, newest_applied, undo_plan, with_about
from .work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan of which nothing has run, and how it is computed again under the deployment lock."""

    plan: Plan
    replan: Callable[[], Plan]
    break_glass: str = ""  # why approval and rehearsal are left out; empty: they are not


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """A plan, and what its reader should know before saying yes to it."""

    digest: str
    plan: Plan
    rehearsal: Rehearsal | None  # the newest one of exactly this plan
    unrecorded: tuple[Unrecorded, ...]  # pending, and some of what they create exists
    identity: str = ""  # how the database is not the environment's


def propose_deployment(
    work: Work, *, plan: Plan | None = None, digest: str | None = None, break_glass: str = ""
) -> Proposal:
    """Propose a deployment of everything that is pending. Changes nothing.

    Args:
        work: the environment.
        plan: one that was made before; None: made now.
        digest: the digest that it must have; None: any.
        break_glass: why approval and rehearsal are left out; empty: they are not.

    Raises:
        ConfigError: the plan is of another environment.
        PlanChanged: the plan has another digest.
        Refused: something that is applied does not fit the files, or the database is another
            environment's.

    """
    identity.require(work)
    end_orphans(work)
    without = BREAK_GLASS if break_glass else frozenset()
    replan = partial(current_plan, work, without=without)
    plan = replan() if plan is None else plan
    gate.require_environment(plan, work.settings.name)
    gate.require_kind(plan)
    gate.require_digest(plan, digest)
    return Proposal(plan=plan, replan=replan, break_glass=break_glass)


def propose_migration(work: Work, *, to: str = "", steps: int = 0) -> Proposal:
    """Propose the pending migrations alone, without the service. Changes nothing.

    `to` names the last one, `steps` says how many; without either all of them.

    Raises:
        ConfigError: `steps` is less than 0.
        Refused: something that is applied does not fit the files, `to` is not pending, or the
            database is another environment's.

    """
    _require_count(steps)
    identity.require(work)
    end_orphans(work)
    replan = partial(current_plan, work, to=to or None, steps=steps or None, without=SERVICE)
    return Proposal(plan=replan(), replan=replan)


def propose_rollback(  # noqa: PLR0913  # four of them exclude each other
    work: Work,
    *,
    name: str = "",
    deployment: str = "",
    to: str = "",
    steps: int = 0,
    force: bool = False,
    lossy: bool = False,
    plan: Plan | None = None,
    digest: str | None = None,
) -> Proposal:
    """Propose to undo what exactly one of `name`, `deployment`, `to` and `steps` says.

    Args:
        work: the environment.
        name: one applied migration.
        deployment: the id of a deployment: all that it applied.
        to: an applied migration that stays: all after it.
        steps: how many of the newest.
        force: also where a later migration that stays touches the same tables.
        lossy: also where values of before are not brought back.
        plan: one that was made before; None: made now.
        digest: the digest that it must have; None: any.

    Raises:
        ConfigError: none or several of the four are given, `steps` is less than 0, or the plan is
            of another environment or task.
        PlanChanged: the plan has another digest, or is not what would be undone.
        Refused: what is named is not applied, has no rollback script, or others build on it; its
            rollback loses values of before; or the database is another environment's.

    """
    if sum(map(bool, (name, deployment, to, steps))) != 1:
        raise ConfigError(
            "rollback needs one of --name, --deployment, --to and --steps",
            next_step="invoke history --env ENV lists deployments, invoke status migrations",
        )
    _require_count(steps)
    identity.require(work)
    end_orphans(work)
    if deployment:
        names = journal.find_deployment(work.database, deployment)[0].migrations
    elif name:
        names = (name,)
    else:
        names = newest_applied(work, steps=steps or None, to=to or None)
    replan = partial(undo_plan, work, names, force=force)
    current = replan()
    plan = current if plan is None else plan
    gate.require_environment(plan, work.settings.name)
    gate.require_kind(plan)
    gate.require_digest(plan, digest)
    gate.require_unchanged(plan, current)
    gate.require_lossless(plan, lossy=lossy)
    for line in losses.going(plan, work):
        work.reporter.note(line)
    return Proposal(plan=plan, replan=replan)


def _require_count(steps: int) -> None:
    if steps < 0:
        raise ConfigError(f"--steps {steps}: expected 1 or more", next_step="--steps 1")


def carry_out(work: Work, proposal: Proposal) -> Deployment:
    """Run a proposed plan, step by step into the journal, and return the record.

    Raises:
        Refused: policy says no, exactly this plan has no approval, or production would run what
            no commit has; nothing was changed.
        PlanChanged: the database or the files changed since the plan was made.
        StepFailed: a step failed; what ran before it stays.
        RolledBack: a step failed, and what can be undone was undone.
        Interrupted: Ctrl-C or SIGTERM.

    """
    gate.require_clean(proposal.plan)
    work.reporter.note(headline(proposal.plan))
    if proposal.break_glass:
        work.reporter.alarm(f"BREAK-GLASS: {proposal.break_glass}: no approval, no rehearsal")
    return loop.run_plan(
        proposal.plan,
        work,
        origin=find_origin(work.settings.root),
        replan=proposal.replan,
        break_glass=proposal.break_glass or None,
    )


def report_plan(work: Work, *, rehearse: bool = False) -> PlanReport:
    """Return the plan of a deployment now, with what its reader should know. Reads only.

    `rehearse` rehearses it on a copy first, as a deployment would.

    Raises:
        Refused: something that is applied does not fit the files, or the rehearsal says no.

    """
    current = current_plan(work)
    if rehearse:
        one_step.rehearse_as_planned(work, current)
    plan = with_about(work, current)
    return PlanReport(
        digest=plan.digest,
        plan=plan,
        rehearsal=plan.rehearsal,
        unrecorded=one_step.unrecorded(work, plan.migrations),
        identity=identity.warning(work.database.read("plan", identity.read), work),
    )


def rendered(work: Work, plan: Plan) -> tuple[str, ...]:
    """Return the SQL of each migration of a plan, as it would be sent."""
    terms = work.terms()
    return tuple(
        work.engine.files.render(migration, plan.direction, terms) for migration in plan.migrations
    )
