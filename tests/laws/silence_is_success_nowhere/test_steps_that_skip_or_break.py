"""Law 8: silence is success nowhere. The loop with steps of the test's own, on a real database."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database import lock
from pgwindlass.database.connection import Database
from pgwindlass.deployment import journal, loop
from pgwindlass.deployment.planner import current_plan
from pgwindlass.deployment.steps import STEPS, Done, Skipped, Step
from pgwindlass.deployment.work import Work, open_work
from pgwindlass.errors import Interrupted, RolledBack, StepFailed, Terminated
from pgwindlass.model import (
    Deployment,
    Origin,
    Outcome,
    Plan,
    PlannedStep,
    Status,
    StepName,
    StepResult,
)
from tests.kit import Project, Quiet

ORIGIN = Origin(deployer="ada", host="laptop", commit=None, ci_run=None)
NAMES = (StepName.LOCK, StepName.MIGRATE, StepName.RESTART, StepName.SMOKE)


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    return Project(tmp_path / "shop", database16.url.reveal())


def run(
    project: Project, steps: Mapping[StepName, Step], environment: str = "production"
) -> tuple[Deployment | BaseException, Quiet]:
    """Run LOCK, MIGRATE, RESTART and SMOKE, the last three as given."""
    import msgspec

    reporter = Quiet()
    identifier = "01TEST"
    with open_work(
        project.settings(environment), deployment_id=identifier, reporter=reporter
    ) as work:

        def replan() -> Plan:
            planned = tuple(PlannedStep(name=name, required=True) for name in NAMES)
            return msgspec.structs.replace(current_plan(work), steps=planned)

        work = replace(work, restarter=None)
        try:
            return (
                loop.run_plan(
                    replan(), work, origin=ORIGIN, replan=replan, steps={**STEPS, **steps}
                ),
                reporter,
            )
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            return error, reporter


def done(*_: object) -> Done:
    return Done("done")


def journalled(project: Project) -> tuple[Status, list[tuple[str, str, bool]]]:
    from pgwindlass.secret import Secret

    found, _ = journal.find_deployment(Database(url=Secret(project.url)), "01TEST", "dev")
    return found.status, [(r.step, r.outcome, r.undo) for r in found.results]


def steps(**changed: Step) -> dict[StepName, Step]:
    found = {name: Step(done) for name in NAMES[1:]}
    return found | {StepName(name): step for name, step in changed.items()}


def test_a_required_step_that_skips_has_failed(project: Project) -> None:
    error, _ = run(project, steps(smoke=Step(lambda *_: Skipped("no checks in deploy.yml"))))

    assert isinstance(error, StepFailed)
    assert error.what == "smoke: no checks in deploy.yml"
    assert error.state == (
        "no migration was to run; the step smoke is required here, so a skip is a failure"
    )


def test_a_required_step_with_nothing_to_do_has_not_failed(project: Project) -> None:
    deployment, _ = run(project, steps(smoke=STEPS[StepName.REHEARSAL]))

    assert isinstance(deployment, Deployment), deployment
    assert journalled(project)[1][-1] == ("smoke", "skipped", False)


def test_a_bug_in_a_step_undoes_the_steps_before_it(project: Project) -> None:
    undone: list[str] = []
    tries = iter([0, 1])  # the restart after the rollback is well again

    def undo(_plan: Plan, _work: Work, result: StepResult) -> Done:
        undone.append(result.step)
        return Done("undone")

    error, _ = run(
        project,
        steps(migrate=Step(done, undo=undo), restart=Step(lambda *_: Done(f"{1 / next(tries)}"))),
    )

    assert isinstance(error, RolledBack)
    assert error.exit_code == 4
    assert error.what == (
        "restart: an error of Windlass itself: ZeroDivisionError: division by zero"
    )
    assert undone == ["migrate"]
    status, rows = journalled(project)
    assert status is Status.ROLLED_BACK
    assert ("restart", "failed", False) in rows
    assert ("migrate", "undone", True) in rows


@pytest.mark.parametrize(
    ("raised", "by_sigterm"), [(KeyboardInterrupt(), False), (Terminated(), True)]
)
def test_an_interruption_is_no_failure_and_undoes_nothing(
    project: Project, raised: BaseException, by_sigterm: bool
) -> None:
    def stop(*_: object) -> Done:
        raise raised

    error, _ = run(project, steps(migrate=Step(done, undo=done), restart=Step(stop)))

    assert isinstance(error, Interrupted)
    assert error.by_sigterm is by_sigterm
    status, rows = journalled(project)
    assert status is Status.INTERRUPTED
    assert not any(undo for _, _, undo in rows)


def test_a_rollback_that_fails_keeps_the_first_error_as_the_headline(project: Project) -> None:
    def broken(*_: object) -> Done:
        raise StepFailed("the schema is stuck", state="", next_step="")

    def wrong(*_: object) -> Done:
        raise StepFailed("status 500", state="", next_step="")

    error, _ = run(project, steps(migrate=Step(done, undo=broken), smoke=Step(wrong)))

    assert isinstance(error, StepFailed)
    assert error.what == "smoke: status 500; and rolling back failed: migrate: the schema is stuck"
    assert journalled(project)[0] is Status.ROLLBACK_FAILED


def test_the_failed_row_says_why(project: Project) -> None:
    def wrong(*_: object) -> Done:
        raise StepFailed("status 500, expected 200", state="", next_step="")

    _, reporter = run(project, steps(smoke=Step(wrong)))

    failed = [r for r in reporter.results if r.outcome is Outcome.FAILED]
    assert [(r.step, r.detail) for r in failed] == [("smoke", "status 500, expected 200")]


def test_the_lock_that_is_lost_stops_the_run_before_its_next_step(project: Project) -> None:
    ran: list[str] = []

    def note(*_: object) -> Done:
        ran.append("restart")
        return Done("")

    with psycopg.connect(project.url, autocommit=True) as other:

        def cut(*_: object) -> Done:
            _take_over(project, other)
            return Done("cut")

        error, _ = run(project, steps(migrate=Step(cut), restart=Step(note)))

    assert isinstance(error, StepFailed)
    assert "the deployment lock was lost" in error.what
    assert ran == []


def _take_over(project: Project, other: psycopg.Connection) -> None:
    """End the session of the deployment lock, and take it for another deployment."""
    _terminate(project, "lock")
    other.execute("select pg_advisory_lock(%s)", (lock.KEY,))


def _terminate(project: Project, name: str) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name like %s and datname = current_database()",
            (f"%/{name}",),
        )


def test_a_journal_whose_connection_is_cut_goes_on_writing(project: Project) -> None:
    def cut(*_: object) -> Done:
        _terminate(project, "session")
        return Done("cut")

    found, _ = run(project, steps(migrate=Step(cut)))

    assert isinstance(found, Deployment)
    status, rows = journalled(project)
    assert status is Status.DEPLOYED
    assert [name for name, _, _ in rows] == ["lock", "migrate", "restart", "smoke"]


def test_nothing_is_rolled_back_when_the_lock_was_lost(project: Project) -> None:
    """Another deployment may hold it by now: two must never change the schema at once."""
    undone: list[str] = []

    def undo(*_: object) -> Done:
        undone.append("migrate")
        return Done("undone")

    with psycopg.connect(project.url, autocommit=True) as other:

        def cut(*_: object) -> Done:
            _take_over(project, other)
            raise StepFailed("status 500", state="", next_step="")

        error, _ = run(project, steps(migrate=Step(done, undo=undo), smoke=Step(cut)))

    assert isinstance(error, StepFailed)
    assert error.what == "smoke: status 500"
    assert error.state.startswith("nothing was rolled back, because the deployment lock was lost")
    assert undone == []
    assert journalled(project)[0] is Status.FAILED
