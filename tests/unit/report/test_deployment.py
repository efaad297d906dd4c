"""States, deployments and errors as text: every text whole."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pgwindlass.model import Correction, Deployment, PreflightCheck, StepResult, Unrecorded
from pgwindlass.plan.states import MigrationState, State
from pgwindlass.report.deployment import (
    checks_text,
    deployment_text,
    deployment_verdict,
    error_text,
    history_text,
    joined_text,
    last_note,
    readiness_text,
    status_exit,
    status_text,
    step_line,
    unrecorded_next,
    unrecorded_note,
    unrecorded_text,
)
from pgwindlass.secret import Secret
from tests.unit.examples import NOW, ORIGIN, A, B, changed, deployment, result

pytestmark = pytest.mark.unit

STAMP = f"invoke stamp --env uat --name {A} --reason WHY"


def unrecorded(**more: Any) -> Unrecorded:
    given: dict[str, Any] = {"migration": A, "objects": ("table orders",), "fails": True}
    return Unrecorded(**(given | more))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (result(), "  ✓ migrate        2 migrations" + " " * 50 + "1.2 s"),
        (result("smoke", "skipped"), "  – smoke          2 migrations" + " " * 50 + "1.2 s"),
        (
            result("migrate-after", "failed", seconds=125.0),
            "  ✗ migrate-after  2 migrations" + " " * 48 + "125.0 s",
        ),
        (
            result("restart", "undone", undo=True, detail="x" * 60),
            f"  ↶ undo restart   {'x' * 60}    1.2 s",
        ),
    ],
)
def test_a_step_is_one_line(given: StepResult, line: str) -> None:
    assert step_line(given) == line


def test_the_status_is_a_line_for_each_migration_and_a_total() -> None:
    states = (
        MigrationState(A, State.APPLIED, "2026-11-20T12:30:15+00:00", title="orders"),
        MigrationState(B, State.HALF_UNDONE, detail="statement 1 of 3 done"),
        MigrationState("c", State.PENDING),
        MigrationState("d", State.PENDING),
    )

    assert status_text("uat", states, "first note", "", "second note") == (
        f"applied       {A}  orders  2026-11-20T12:30:15+00:00\n"
        f"half undone   {B}  statement 1 of 3 done\n"
        "pending       c\n"
        "pending       d\n"
        "uat: 1 applied, 2 pending, 1 half undone\n"
        "first note\n"
        "second note"
    )


def test_the_status_without_migrations() -> None:
    assert status_text("uat", ()) == "uat: no migrations"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ((), 0),
        ((State.APPLIED,), 0),
        ((State.APPLIED, State.PENDING), 1),
        ((State.PARTIAL,), 1),
        ((State.EDITED, State.PENDING), 3),
        ((State.MISSING,), 3),
        ((State.HALF_UNDONE,), 3),
        ((State.FAILED,), 3),
        ((State.OUT_OF_ORDER,), 3),
    ],
)
def test_the_exit_code_of_the_status_is_its_gravest_state(
    states: tuple[State, ...], code: int
) -> None:
    assert status_exit(tuple(MigrationState("m", state) for state in states)) == code


@pytest.mark.parametrize(("fails", "code"), [(True, 3), (False, 0)])
def test_what_stands_and_makes_a_file_fail_is_an_error(fails: bool, code: int) -> None:
    given = (unrecorded(fails=False), unrecorded(fails=fails))

    assert status_exit((), given) == code


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            unrecorded(verdict="alike"),
            "table orders already exists; the definitions match",
        ),
        (
            unrecorded(verdict="alike", fails=False),
            "table orders already exists; the definitions match; the file says IF NOT "
            "EXISTS, so a deployment creates nothing",
        ),
        (
            unrecorded(verdict="different", says=("a", "b", "c"), objects=("x", "y", "z")),
            "x, y, z already exist; the definitions differ: a; b; c",
        ),
        (
            unrecorded(verdict="different", says=tuple("abcd"), objects=tuple("vwxyz")),
            "v, w, x and 2 more already exist; the definitions differ: a; b; c; and 1 more",
        ),
        (
            unrecorded(says=("no server",)),
            "table orders already exists; it is not known whether the definitions match: no server",
        ),
    ],
)
def test_what_stands_without_a_record_is_told(given: Unrecorded, text: str) -> None:
    assert unrecorded_text(given) == f"{A} is not recorded, and {text}"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (unrecorded(verdict="alike"), STAMP),
        (
            unrecorded(verdict="alike", fails=False),
            f"{STAMP}; or invoke deploy --env uat, which records it",
        ),
        (
            unrecorded(verdict="different"),
            f"change the existing objects to match the file, then {STAMP}; or correct the file, or "
            "remove the existing objects, and deploy",
        ),
        (
            unrecorded(),
            f"compare it with the file (pg_dump --schema-only); where both match: {STAMP}",
        ),
    ],
)
def test_what_to_do_about_it_is_told(given: Unrecorded, text: str) -> None:
    assert unrecorded_next("uat", given) == text
    assert unrecorded_note("uat", given) == f"{unrecorded_text(given)}\n  next: {text}"


@pytest.mark.parametrize(
    ("newest", "holder", "note"),
    [
        ((), "", ""),
        ((), "ann on ci-7", "a deployment is running: ann on ci-7"),
        ((deployment(),), "", ""),
        (
            (deployment("running"), deployment()),
            "",
            "deployment 01DEPLOY was killed; the same command continues: invoke deploy --env uat",
        ),
        (
            (deployment("rollback failed"), deployment()),
            "",
            "the last deployment, 01DEPLOY, ended: rollback failed",
        ),
        ((deployment(), deployment("failed")), "", ""),
    ],
)
def test_what_the_newest_deployment_left_is_noted(
    newest: tuple[Deployment, ...], holder: str, note: str
) -> None:
    assert last_note(newest, holder) == note


def test_a_check_of_doctor_is_a_line_and_how_to_mend_it() -> None:
    Secret("doctor-secret-1")
    checks = (
        PreflightCheck("database", "PostgreSQL 16"),
        PreflightCheck("store", "none at doctor-secret-1", "write a backups section"),
    )

    assert checks_text(checks) == (
        "  ✓ database       PostgreSQL 16\n"
        "  ✗ store          none at ***\n"
        "    next: write a backups section"
    )


@pytest.mark.parametrize(
    ("done", "line"),
    [
        (
            deployment(),
            "deployed in 12.0 s · record 01DEPLOY · undo: invoke rollback --env uat "
            "--deployment 01DEPLOY",
        ),
        (deployment(migrations=()), "deployed in 12.0 s · record 01DEPLOY"),
        (deployment(direction="down"), "rolled back in 12.0 s · record 01DEPLOY"),
        (
            deployment(finished_at=None, migrations=()),
            "deployed in 0.0 s · record 01DEPLOY",
        ),
    ],
)
def test_the_verdict_of_a_deployment_says_how_to_undo_it(done: Deployment, line: str) -> None:
    assert deployment_verdict(done) == line


def test_the_history_is_a_line_for_each_deployment_and_each_correction() -> None:
    correction = Correction(
        verb="stamp",
        migration=A,
        before="pending",
        after="sha256:1",
        reason="made by hand",
        origin=ORIGIN,
        at=NOW,
    )
    first = deployment("rolled back", direction="down", break_glass="fire")

    assert history_text((deployment(), first), (correction,)) == (
        "2026-11-20 12:30:15  01DEPLOY  deployed        2 migrations  by ann@ci-7\n"
        "2026-11-20 12:30:15  01DEPLOY  rolled back     rollback of 2 migrations  by ann@ci-7  "
        "break-glass: fire\n"
        "\n"
        "corrections of the history\n"
        f"2026-11-20 12:30:15  stamp {A}: pending → sha256:1  by ann@ci-7: made by hand"
    )
    assert history_text((), (correction,)).startswith("corrections of the history\n")
    assert history_text((deployment(),)).count("\n") == 0


def test_what_the_database_recorded_is_shown_by_its_clock() -> None:
    ahead = deployment(recorded_at=datetime(2026, 11, 20, 11, 0, tzinfo=UTC))

    assert history_text((ahead,)).startswith("2026-11-20 11:00:00  01DEPLOY")
    assert "  begun        2026-11-20 11:00:00 UTC\n" in deployment_text(ahead)


def test_an_empty_history_says_so() -> None:
    assert history_text(()) == "nothing was ever deployed here"


def test_a_deployment_is_shown_with_its_steps_and_their_evidence() -> None:
    done = deployment(
        origin=changed(ORIGIN, ci_run="https://ci/1"),
        backup="B1",
        break_glass="fire",
        error="it failed",
        results=(
            result("approval", evidence=(("approver", "ann"), ("comment", ""))),
            result("backup", evidence=(("backup", "B1"),)),
            result("restart", evidence=(("before", "pid 1"),)),
        ),
    )

    assert deployment_text(done) == (
        "deployment 01DEPLOY\n"
        "  environment  uat\n"
        "  status       deployed\n"
        f"  plan         {'d' * 64}\n"
        "  begun        2026-11-20 12:30:15 UTC\n"
        "  by           ann on ci-7\n"
        f"  commit       c0ffee{'0' * 34}\n"
        "  CI run       https://ci/1\n"
        "  backup       B1\n"
        f"  migrations   {A}, {B}\n"
        "  break-glass  fire\n"
        "  error        it failed\n"
        "\n" + "".join(f"{step_line(each)}\n" for each in done.results) + "\n"
        "  evidence\n"
        "    approver         ann\n"
        "    before           pid 1"
    )


def test_what_is_not_known_of_a_deployment_is_said() -> None:
    bare = deployment(origin=changed(ORIGIN, commit=None), migrations=(), results=(result(),))

    assert deployment_text(bare).splitlines()[6:] == [
        "  commit       not known",
        "  CI run       none",
        "  backup       none",
        "  migrations   none",
        "  break-glass  no",
        "  error        none",
        "",
        step_line(result()),
    ]


def test_an_error_is_three_lines_without_secrets() -> None:
    Secret("error-secret-1")

    assert error_text("no error-secret-1", "nothing was changed", "invoke status") == (
        "✗ no ***\n  state: nothing was changed\n  next:  invoke status"
    )


def test_who_joined_another_run_is_told_so() -> None:
    assert joined_text((), "01A") == "nothing is pending"
    assert joined_text(("a", "b"), "01A") == (
        "another run applied them: 2 migrations, b the last; the newest deployment is 01A"
    )
    assert joined_text(("a",), "").endswith("a the last")


def test_who_waits_is_told_what_was_missing_at_the_end() -> None:
    state = MigrationState("a", State.PENDING)

    assert readiness_text("dev", (), "5m") == "dev: nothing that is on disk is pending"
    assert readiness_text("dev", (state,), "5m").endswith(
        "a\ndev: 1 migrations are not applied after 5m"
    )
