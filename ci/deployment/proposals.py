"""What a deployment, a migration and a rollback begin with: a plan, and how to compute it again.

Each first looks for a unit of work that is not done. The same command goes on with what is left of
it, and so does `resume`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from ..database import lock
from ..errors import ConfigError, Refused
from ..model import Deployment, Plan, Rehearsal, StepName, Unrecorded
from ..origin import find_origin
from ..plan import continuing, gate
from ..plan.continuing import Going, OpenUnit, Unit
from ..policy import BREAK_GLASS, SERVICE
from ..report.plan import headline
from . import identity, loop, losses, one_step, pause, units
from .observed import observed
from .planner import (
    back_plan,
    current_plan,
    end_orphans,
    newest_applied,
    undo_plan,
    with_about,
)
from .work import Work

Arguments = tuple[tuple[str, str], ...]
Replan = Callable[[], Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan of which nothing has run, and how it is computed again under the deployment lock."""

    plan: Plan
    replan: Replan
    unit: Unit  # that it begins, or goes on with
    unit_of: Callable[[Plan], Unit]  # finds that anew under the lock
    break_glass: str = ""  # why approval and rehearsal are left out; empty: they are not


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """What was typed, and what it finds unfinished."""

    verb: str
    arguments: Arguments
    resumes: bool = False  # it is `resume`, which goes on whatever was typed

    def way(self, work: Work, unit: OpenUnit | None, *, locked: bool = False) -> Going:
        """Return what to do with an open unit; `locked`: nobody else is at work on it."""
        if self.resumes and unit is not None:
            return Going.BACK if unit.intent.back else Going.ON
        try:
            return continuing.going(
                unit, self.verb, self.arguments, units.applied_now(work) if unit else ()
            )
        except Refused:
            if locked or not work.database.read("lock", lock.who):
                raise
            return Going.FRESH  # it is at work: seen again when it has ended

    def unit_of(self, work: Work, digest: str, plan: Plan, *, locked: bool = True) -> Unit:
        """Return the unit that a plan belongs to, as the journal is now."""
        unit = units.find_open(work.database)
        begun = units.fresh(plan, self.verb, self.arguments)
        way = self.way(work, unit, locked=locked)
        if unit is None or way is Going.FRESH:
            return begun
        taken = units.take_up(work, plan, unit, way, begun, digest=digest)
        if self.resumes or way is Going.BACK:
            units.require_rest(plan, unit, taken.migrations)
        return taken

    def propose(
        self, work: Work, replan: Replan, *, given: Plan | None = None, digest: str | None = None
    ) -> Proposal:
        """Return the proposal; `given` is a plan that was made before.

        Raises:
            ConfigError: the plan is of another environment or task.
            PlanChanged: it has another digest.

        """
        current = replan()
        if given is not None:
            gate.require_environment(given, work.settings.name)
            gate.require_kind(given)
        gate.require_digest(given or current, digest)
        unit_of = partial(self.unit_of, work, given.digest if given is not None else "")
        unit = unit_of(current, locked=False)
        # The plan that was approved has been run in part: what runs now is the rest of it.
        carried = bool(unit.continues) and given is not None
        plan = current if given is None or (carried and _is_rest(unit, given)) else given
        return Proposal(plan=plan, replan=replan, unit=unit, unit_of=unit_of)


def _is_rest(unit: Unit, given: Plan) -> bool:
    return unit.intent.plan_digest == given.digest


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
    pause.require_deployable(work, break_glass)
    end_orphans(work)
    command = _Command(verb="deploy", arguments=_arguments({"break-glass": break_glass}))
    replan: Replan = partial(current_plan, work, without=_left_out("deploy", break_glass))
    unit = units.find_open(work.database)
    if unit is not None and command.way(work, unit) is Going.BACK:
        replan = _back(work, unit)
    proposal = command.propose(work, replan, given=plan, digest=digest)
    return replace(proposal, break_glass=break_glass)


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
    pause.require_deployable(work)
    end_orphans(work)
    command = _Command(
        verb="migrate", arguments=_arguments({"to": to, "steps": str(steps) if steps else ""})
    )
    replan: Replan = partial(
        current_plan, work, to=to or None, steps=steps or None, without=SERVICE
    )
    unit = units.find_open(work.database)
    way = command.way(work, unit)
    if unit is not None and way is Going.BACK:
        replan = _back(work, unit)
    elif unit is not None and way is Going.ON and steps:
        replan = _rest_of_count(work, unit, steps)
    return command.propose(work, replan)


def propose_rollback(  # noqa: PLR0913  # four of them exclude each other
    work: Work,
    *,
    name: str = "",
    deployment: str = "",
    to: str = "",
    steps: int = 0,
    force: bool = False,
    lossy: bool = False,
    shown: bool = False,
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
        shown: it is shown alone, and not run.
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
            next_step=f"invoke history --env {work.settings.name} lists deployments, "
            f"invoke status --env {work.settings.name} migrations",
        )
    _require_count(steps)
    identity.require(work)
    end_orphans(work)
    given = {"name": name, "deployment": deployment, "to": to, "steps": str(steps or "")}
    command = _Command(verb="rollback", arguments=_arguments(given, force=force, lossy=lossy))
    unit = units.find_open(work.database)
    if unit is not None and command.way(work, unit) is Going.ON:
        names = units.left_now(work, unit.intent)
    elif deployment:
        names = _applied_of(work, deployment)
    elif name:
        names = (name,)
    else:
        names = newest_applied(work, steps=steps or None, to=to or None)
    proposal = command.propose(
        work, partial(undo_plan, work, names, force=force), given=plan, digest=digest
    )
    if plan is not None and not _is_rest(proposal.unit, plan):
        gate.require_unchanged(plan, proposal.replan())
    gate.require_lossless(proposal.plan, lossy=lossy or shown)
    for line in losses.going(proposal.plan, work):
        work.reporter.note(line)
    return proposal


def propose_resume(work: Work) -> Proposal | None:
    """Propose what is left of the unit of work that is not done; None where every one is.

    It goes on as it began: the same migrations, forward or backward, with the same approval.

    Raises:
        Refused: a file, a setting or the history has changed since it began; or the database is
            another environment's.

    """
    identity.require(work)
    end_orphans(work)
    unit = units.find_open(work.database)
    if unit is None:
        return None
    intent = unit.intent
    arguments = dict(intent.arguments)
    broken = arguments.get("break-glass", "")
    names = units.left_now(work, intent)
    replan: Replan
    if intent.back:
        replan = _back(work, unit)
    elif intent.direction == "down":
        replan = partial(undo_plan, work, names, force="force" in arguments)
    else:
        _require_files(work, unit, names)
        replan = partial(
            current_plan, work, only=intent.migrations, without=_left_out(intent.verb, broken)
        )
    command = _Command(verb=intent.verb, arguments=intent.arguments, resumes=True)
    return replace(command.propose(work, replan), break_glass=broken)


def _arguments(given: dict[str, str], **flags: bool) -> Arguments:
    bare = ((name, "") for name, value in flags.items() if value)
    return (*((name, value) for name, value in given.items() if value), *bare)


def _left_out(verb: str, break_glass: str) -> frozenset[StepName]:
    if verb == "migrate":
        return SERVICE
    return BREAK_GLASS if break_glass else frozenset()


def _back(work: Work, unit: OpenUnit) -> Replan:
    """Return the plan of a unit that is taken back."""
    without = _left_out(unit.intent.verb, dict(unit.intent.arguments).get("break-glass", ""))
    return partial(back_plan, work, unit.intent.migrations, without=without)


def _rest_of_count(work: Work, unit: OpenUnit, steps: int) -> Replan:
    """Return the plan of what is left of so many migrations.

    They are those that it began with. Where one of them has no file any more, as many of those that
    are pending take their place.
    """
    names = units.left_now(work, unit.intent)
    on_disk = {migration.name for migration in work.engine.files.list()}
    if on_disk >= set(names):
        return partial(current_plan, work, only=names, without=SERVICE)
    left = steps - (len(unit.intent.migrations) - len(names))
    return partial(current_plan, work, steps=left, without=SERVICE)


def _applied_of(work: Work, deployment: str) -> tuple[str, ...]:
    """Return what a deployment applied and still is.

    Raises:
        Refused: none of it is.

    """
    applied = units.applied_now(work)
    names = units.names_of(work, deployment)
    standing = tuple(name for name in names if name in applied)
    if not standing:
        what = f"none of what it ran is applied: {', '.join(names)}" if names else "it ran nothing"
        raise Refused(
            f"deployment {deployment} has nothing to undo: {what}",
            next_step=f"invoke status --env {work.settings.name} shows what is applied",
        )
    return standing


def _require_files(work: Work, unit: OpenUnit, names: tuple[str, ...]) -> None:
    on_disk = {migration.name for migration in work.engine.files.list()}
    missing = [name for name in names if name not in on_disk]
    if missing:
        env = work.settings.name
        raise Refused(
            f"{missing[0]}, with which deployment {unit.id} began, has no file",
            state="this command changed nothing",
            next_step=f"bring it back (git log); or begin anew with what there is now: "
            f"{unit.intent.command(env)}",
        )


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
    unit = proposal.unit
    work.reporter.note(
        f"{proposal.plan.environment} · deployment {unit.continues} is taken back"
        if unit.intent.back
        else headline(proposal.plan)
    )
    if proposal.break_glass:
        work.reporter.alarm(f"BREAK-GLASS: {proposal.break_glass}: no approval, no rehearsal")
    with observed(work, proposal.plan) as traced:
        return loop.run_plan(
            proposal.plan,
            traced,
            origin=find_origin(work.settings.root),
            replan=proposal.replan,
            unit=proposal.unit,
            unit_of=proposal.unit_of,
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
