"""The verbs: parse, call, print, exit. Holds no logic; all of it can be called from Python."""

import functools
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit, ParseError
from invoke.program import Program
from invoke.tasks import task

from ci import __version__, config, report
from ci.errors import ConfigError, Interrupted, Refused, Terminated, WindlassError
from ci.model import Plan, StepName
from ci.secret import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ci.steps import Work

Answer = tuple[object, str]  # the JSON document, the text for people
Verb = Callable[..., "Answer | tuple[object, str, int]"]

COMMON = {
    "env": "environment of deploy.yml (required)",
    "json": "one JSON document on standard output (default: no)",
    "debug": "show the traceback of an error (default: no)",
    "dry-run": "show what would be done, change nothing (default: no)",
}
CHANGES = ("create", "backup", "restore", "restart")  # no dry run of their own: refused under one


def verb(**help_: str) -> Callable[[Verb], Any]:
    """Make a task of a function that returns its JSON document, its text and, if not 0, its code.

    One place for what all tasks share: signals, errors in three lines, exit codes, `--json`, and
    that `invoke --dry` is a dry run (Invoke itself would run our code).
    """

    def make(body: Verb) -> Any:  # noqa: ANN401  # invoke's Task is not generic in its body's type
        parameters = inspect.signature(body).parameters

        @functools.wraps(body)
        def run(c: Context, **arguments: Any) -> None:  # noqa: ANN401  # whatever the body takes
            as_json = bool(arguments.get("json"))
            try:
                _signals()
                if c.config.run.dry:
                    _dry(body.__name__, arguments, parameters)
                answer = body(c, **arguments)
            except (WindlassError, KeyboardInterrupt) as error:
                _end(error, as_json=as_json, debug=bool(arguments.get("debug")))
            except Exception as error:  # noqa: BLE001  # a bug: said in three lines all the same
                _end(error, as_json=as_json, debug=bool(arguments.get("debug")))
            document, text, code = answer if len(answer) == 3 else (*answer, 0)
            _out(report.as_json(document) if as_json else text)
            if code:
                raise Exit(code=code)

        texts = {k.strip("_").replace("_", "-"): v for k, v in help_.items()} | COMMON
        used = {name.strip("_").replace("_", "-") for name in parameters}
        return task(
            run,
            positional=[],
            auto_shortflags=False,
            name=body.__name__.rstrip("_").replace("_", "-"),
            help={name: text for name, text in texts.items() if name in used},
        )

    return make


def _signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise Terminated

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def _dry(name: str, arguments: dict[str, Any], parameters: Any) -> None:  # noqa: ANN401
    if "dry_run" in parameters:
        arguments["dry_run"] = True
    elif name in CHANGES:
        raise ConfigError(f"{name} has no dry run", next_step="leave --dry out")


def _end(error: BaseException, *, as_json: bool, debug: bool) -> NoReturn:
    """Say an error in three lines and leave with its exit code."""
    if debug:
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    if isinstance(error, KeyboardInterrupt):
        error = Interrupted(
            "stopped by SIGTERM" if isinstance(error, Terminated) else "stopped by Ctrl-C",
            state="nothing was begun that the journal does not show",
            next_step="invoke status --env ENV",
            by_sigterm=isinstance(error, Terminated),
        )
    if not isinstance(error, WindlassError):
        error = WindlassError(
            f"an error of Windlass itself: {type(error).__name__}: {error}",
            state="not known; the journal shows what was begun",
            next_step="run it again with --debug, and report what it prints",
        )
    code = 143 if isinstance(error, Interrupted) and error.by_sigterm else error.exit_code
    sys.stderr.write(report.error_text(error.what, error.state, error.next_step) + "\n")
    if as_json:
        said = {"what": error.what, "state": error.state, "next_step": error.next_step}
        _out(report.as_json({"error": {"kind": type(error).__name__, "exit_code": code, **said}}))
    raise Exit(code=code) from None


def _out(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _settings(env: str) -> config.Settings:
    loaded = config.load(_deploy_file())
    if not env:
        raise ConfigError(
            "no environment was named", next_step=f"--env with one of: {', '.join(loaded.names)}"
        )
    return loaded.environment(env)


def _deploy_file() -> Path:
    """Return the nearest deploy.yml, here or above; the one here where there is none."""
    here = Path.cwd()
    above = [d / "deploy.yml" for d in here.parents if (d / "deploy.yml").exists()]
    return Path("deploy.yml") if Path("deploy.yml").exists() or not above else above[0]


@contextmanager
def _work(env: str) -> "Iterator[Work]":
    from ci.console import Console
    from ci.origin import new_deployment_id
    from ci.steps import open_work

    console = Console()
    identifier = new_deployment_id(datetime.now(UTC))
    try:
        with open_work(_settings(env), deployment_id=identifier, reporter=console) as work:
            yield work
    finally:
        console.close()


def _run(work: "Work", plan: Plan, again: Callable[[], Plan], *, break_glass: str = "") -> Answer:
    from ci.deploy import deploy
    from ci.origin import find_origin

    work.reporter.note(report.headline(plan))
    if break_glass:
        work.reporter.alarm(f"BREAK-GLASS: {break_glass}: no approval, no rehearsal")
    done = deploy(
        plan,
        work,
        origin=find_origin(work.settings.root),
        again=again,
        break_glass=break_glass or None,
    )
    return done, report.verdict(done)


def _rendered(work: "Work", plan: Plan) -> tuple[str, ...]:
    return tuple(work.engine.render(migration, plan.direction) for migration in plan.migrations)


@verb(
    plan="a plan file that was looked at before (default: made now)",
    break_glass="reason to leave out approval and rehearsal; recorded",
    yes="do not ask at a terminal (default: ask above development)",
)
def deploy(
    c: Context,
    env: str = "",
    plan: str = "",
    break_glass: str = "",
    *,
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Deploy: backup, migrate, restart, smoke test, by the environment's policy."""
    from ci import gate
    from ci.deploy import current_plan
    from ci.policy import BREAK_GLASS

    without = BREAK_GLASS if break_glass else frozenset()
    with _work(env) as work:
        again = functools.partial(current_plan, work, without=without)
        chosen = _plan_file(plan) if plan else again()
        gate.require_environment(chosen, env)
        if dry_run:
            return chosen, report.plan_text(chosen, _rendered(work, chosen))
        if not yes:
            _go_on(chosen)
        return _run(work, chosen, again, break_glass=break_glass)


def _go_on(plan: Plan) -> None:
    """Ask at a terminal; where an approval is asked for, that is the question."""
    asks = plan.tier != "development" and not plan.has(StepName.APPROVAL)
    if asks and _asked(f"{report.plan_text(plan)}\n\n  Deploy this? [y/N] ") not in ("y", None):
        raise Refused("you said no", next_step=f"invoke plan --env {plan.environment} shows more")


def _asked(question: str) -> str | None:
    """Return what a person typed, lower case; None where nobody can."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower()


def _plan_file(path: str) -> Plan:
    import msgspec

    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path} is no plan: {error}", next_step="write one: invoke plan --env ENV --out FILE"
        ) from None


@verb(to="last migration to run (default: all pending)")
def migrate(
    c: Context,
    env: str = "",
    to: str = "",
    *,
    dry_run: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Run the migrations alone, under the environment's policy."""
    from ci.deploy import current_plan
    from ci.policy import SERVICE

    with _work(env) as work:
        again = functools.partial(current_plan, work, to=to or None, without=SERVICE)
        plan = again()
        if dry_run:
            return plan, "\n\n".join(_rendered(work, plan)) or "nothing to migrate"
        return _run(work, plan, again)


@verb(name="an applied migration", deployment="a deployment: all that it applied")
def rollback(
    c: Context,
    env: str = "",
    name: str = "",
    deployment: str = "",
    *,
    dry_run: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Undo a migration or a deployment, under the environment's policy."""
    from ci import gate, journal
    from ci.deploy import undo_plan

    if bool(name) == bool(deployment):
        raise ConfigError(
            "rollback needs either --name or --deployment",
            next_step="invoke history --env ENV lists deployments, invoke status migrations",
        )
    with _work(env) as work:
        names = journal.find(work.database, deployment)[0].migrations if deployment else (name,)
        again = functools.partial(undo_plan, work, names)
        plan = again()
        if dry_run:
            return plan, "\n\n".join(_rendered(work, plan))
        asks = plan.tier != "development" and not plan.has(StepName.APPROVAL)
        typed = _asked(f'{report.plan_text(plan)}\n\n  Type "{env}": ') if asks else None
        gate.require_confirmation(
            plan, typed=typed, variable=os.environ.get("CONFIRM_ROLLBACK", "")
        )
        return _run(work, plan, again)


@verb(out="write the plan to this file, for deploy --plan")
def plan(
    c: Context, env: str = "", out: str = "", *, json: bool = False, debug: bool = False
) -> Answer:
    """Show exactly what a deployment would do, with its digest. Reads only."""
    from ci.deploy import current_plan

    with _work(env) as work:
        found = current_plan(work)
        rendered = _rendered(work, found)
    if out:
        Path(out).write_bytes(found.canonical())
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(report.github_summary(found, rendered))
    return {"digest": found.digest, "plan": found}, report.plan_text(found, rendered)


@verb()
def status(
    c: Context, env: str = "", *, json: bool = False, debug: bool = False
) -> tuple[object, str, int]:
    """Show applied, pending, edited, missing and out of order migrations; exits 0, 1 or 3."""
    from ci import journal, lock
    from ci.plan import compare

    with _work(env) as work:
        history = work.database.read("status", work.engine.history)
        states = compare(work.engine.on_disk(), history)
        holder = work.database.read("status", lock.who)
        newest = journal.history(work.database, limit=1)
    note = report.last_note(newest, holder)
    document = {"environment": env, "migrations": states, "lock": holder, "note": note}
    return document, report.status_text(env, states, note), report.status_exit(states)


@verb()
def lint(
    c: Context, env: str = "", *, json: bool = False, debug: bool = False
) -> tuple[object, str, int]:
    """Show what is dangerous in the migrations, by file and line; exits 1 on errors."""
    from ci.engines import open_engine

    settings = _settings(env)
    engine = open_engine(settings.shared.migrations, settings.root)
    found = [finding for migration in engine.on_disk() for finding in engine.lint(migration)]
    text = "\n".join(str(finding) for finding in found) or "no findings"
    return found, text, int(any(finding.level == "error" for finding in found))


@verb(name="what it does, in lower case: add_user_preferences")
def create(c: Context, name: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Write a new migration, its rollback and its verify script."""
    from ci.engines import open_engine

    file = _deploy_file()
    shared = config.load(file).shared()
    made = [str(p) for p in open_engine(shared.migrations, file.resolve().parent).create(name)]
    return {"created": made}, "\n".join(made)


@verb()
def doctor(
    c: Context, env: str = "", *, json: bool = False, debug: bool = False
) -> tuple[object, str, int]:
    """Check everything a deployment will need, and say how to mend what is missing."""
    from ci import preflight

    with _work(env) as work:
        found = preflight.look(
            work.settings, work.database, work.engine, work.store, work.restarter, work.approvals
        )
    return found, report.checks_text(found), int(any(check.problem for check in found))


@verb()
def history(
    c: Context, env: str = "", deployment: str = "", *, json: bool = False, debug: bool = False
) -> Answer:
    """Show what was deployed, by whom, and how it went."""
    from ci import journal

    with _work(env) as work:
        if deployment:
            found, _ = journal.find(work.database, deployment)
            return found, report.deployment_text(found)
        all_ = journal.history(work.database)
        return all_, report.history_text(all_)


@verb()
def backup(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Take a backup and read it back."""
    from ci import operations

    with _work(env) as work:
        manifest = operations.backup(work)
    return manifest, report.backups_text((manifest,))


@verb()
def backup_list(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """List the backups of an environment, newest first."""
    from ci import operations

    with _work(env) as work:
        found = operations.backups(work)
    return found, report.backups_text(found)


@verb(which="a backup's id (default: latest)", depth="checksum or rows (default: rows)")
def backup_verify(
    c: Context,
    env: str = "",
    which: str = "latest",
    depth: str = "rows",
    *,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Read a backup back and compare it with its manifest."""
    from ci import operations

    with _work(env) as work:
        manifest, proven = operations.verify_backup(work, which, depth)
    text = f"{manifest.id}: {proven.depth} right, {proven.rows:,} rows of {proven.tables} tables"
    return {"backup": manifest.id, "proof": proven}, text


@verb(
    from_="a backup's id (default: latest)",
    into="name of the new database (default: <database>_restored_<time>)",
)
def restore(
    c: Context,
    env: str = "",
    from_: str = "latest",
    into: str = "",
    *,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Restore a backup into a new database beside the live one; the live one is not touched."""
    from ci import operations

    with _work(env) as work:
        done = operations.restore(work, from_, into)
    text = f"restored into {done.database}: {done.rows:,} rows of {done.tables} tables"
    return done, text


@verb()
def rehearse(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Run the pending migrations on a copy restored from the newest backup; undone and redone."""
    from ci import operations

    with _work(env) as work:
        found = operations.rehearse(work)
    lines = [f"{one.name}  {one.seconds:.2f} s  rolled back: {one.rolled_back}" for one in found]
    return found, "\n".join(lines) or "nothing to rehearse"


@verb()
def restart(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Restart the service, and prove that it did."""
    from ci import operations

    with _work(env) as work:
        now = operations.restart(work)
    return now, f"{now.detail or 'restarted'}: {now.instance}"


@verb()
def smoke(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Run the smoke tests against the service."""
    from ci import operations

    with _work(env) as work:
        found = operations.smoke(work)
    return found, f"{found.checks} checks, slowest {found.slowest * 1000:.0f} ms"


@verb()
def verify(c: Context, env: str = "", *, json: bool = False, debug: bool = False) -> Answer:
    """Run the verify scripts of every applied migration. Reads only."""
    from ci import operations

    with _work(env) as work:
        count = operations.verify(work)
    return {"scripts": count}, f"{count} verify scripts hold"


@verb()
def schema(c: Context, *, json: bool = False, debug: bool = False) -> Answer:
    """Print the JSON Schema of deploy.yml, for editors."""
    found = config.schema()
    return found, report.as_json(found)


ns = Collection(
    create, deploy, doctor, history, lint, migrate, plan, rehearse, restart, restore, rollback,
    schema, smoke, status, verify,
)  # fmt: skip
_backup = Collection("backup")
_backup.add_task(backup, name="take", default=True)
_backup.add_task(backup_list, name="list")
_backup.add_task(backup_verify, name="verify")
ns.add_collection(_backup)


class _Windlass(Program):
    """Invoke's own program, but for wrong usage, which exits 2."""

    def parse_core(self, argv: list[str] | None) -> None:
        """Parse the flags before the task's name."""
        try:
            super().parse_core(argv)
        except ParseError as error:
            _usage(error)

    def parse_tasks(self) -> None:
        """Parse the tasks and their flags."""
        try:
            super().parse_tasks()
        except ParseError as error:
            _usage(error)


def _usage(error: ParseError) -> NoReturn:
    sys.stderr.write(
        report.error_text(str(error), "nothing was contacted or changed", "windlass --list") + "\n"
    )
    raise SystemExit(2)


def main() -> None:
    """Run the console script."""
    _Windlass(name="windlass", binary="windlass", version=__version__, namespace=ns).run()
