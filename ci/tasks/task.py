"""What all tasks share: signals, errors in three lines, exit codes, --json, the environment."""

import functools
import inspect
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from .. import config
from ..config.duration import Duration
from ..dumpable import close_to_others
from ..errors import ConfigError, Interrupted, Terminated, WindlassError, found_at
from ..report import deployment, format, markdown, runner, runner_commands, summary
from ..secret import redact, redact_to, remember_environment
from ..visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..deployment.work import Work


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb returns: its JSON document, its text for people, and its exit code."""

    document: object
    text: str
    code: int = 0


Verb = Callable[..., Answer]

COMMON = {
    "env": "environment of deploy.yml (required)",
    "json": "one JSON document on standard output (default: no)",
    "debug": "show the traceback of an error (default: no)",
    "dry-run": "show what would be done, change nothing (default: no)",
    "show-queries": "show the queries of who blocks us; they may hold personal data (default: no)",
}
CHANGES = (
    "create",
    "backup",
    "restart",
    "init",
    "pause",
    "backfill_run",
    "backfill_pause",
    "backfill_resume",
    "backfill_cancel",
)  # no dry run of their own: refused under one

# What changes nothing anywhere, whatever its flags.
READS = ("status", "history", "verify", "doctor", "grants", "schema", "backup_list")


STOPPED_BY = (signal.SIGTERM, signal.SIGHUP)
COMMON_FLAGS = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    for name in ("json", "debug")
)


def verb(*positional: str, **help_: str) -> Callable[[Verb], Any]:
    """Make a task of a function that has only its own flags, and returns its answer.

    `positional` are the flags whose value may be given without the flag; `help_` are the texts of
    the flags, where COMMON has none or another one.

    A flag of the type `str | bool` may stand without a value, and is True then.

    One place for what all tasks share: Invoke's context, `--json` and `--debug`, signals, errors
    in three lines, exit codes, and that `invoke --dry` is a dry run (Invoke itself would run our
    code).
    """

    def make(body: Verb) -> Any:  # noqa: ANN401  # invoke's Task is not generic in its body's type
        signature = _signature(body)

        @functools.wraps(body)
        def run(
            c: Context,
            *values: Any,  # noqa: ANN401  # whatever the body takes
            json: bool = False,
            debug: bool = False,
            **arguments: Any,  # noqa: ANN401
        ) -> None:
            close_to_others()
            remember_environment(os.environ)
            with runner.attached():
                try:
                    _signals()
                    if c.config.run.dry:
                        _dry(body.__name__, arguments, signature)
                    answer = body(*values, **arguments)
                except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # a bug too: three lines
                    if isinstance(error, KeyboardInterrupt):
                        error = _stopped(error, body.__name__, arguments.get("env", ""))
                    _exit(error, as_json=json, debug=debug, env=arguments.get("env", ""))
                text = format.as_json(answer.document) if json else visible(redact(answer.text))
                _out(text, as_json=json)
            if answer.code:
                raise Exit(code=answer.code)

        run.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect, so by Invoke
        return task(
            run,
            positional=list(positional),
            optional=[n for n, p in signature.parameters.items() if p.annotation == str | bool],
            auto_shortflags=False,
            name=body.__name__.rstrip("_").replace("_", "-"),
            help=_help(signature, help_),
        )

    return make


def _signature(body: Verb) -> inspect.Signature:
    """Return the signature that Invoke reads: the body's own flags, and those of every task."""
    context = inspect.Parameter("c", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context)
    return inspect.Signature([context, *inspect.signature(body).parameters.values(), *COMMON_FLAGS])


def _help(signature: inspect.Signature, own: dict[str, str]) -> dict[str, str]:
    texts = COMMON | {_flag(name): text for name, text in own.items()}
    used = {_flag(name) for name in signature.parameters}
    return {name: text for name, text in texts.items() if name in used}


def _flag(parameter: str) -> str:
    return parameter.strip("_").replace("_", "-")


def _signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise Terminated

    for number in STOPPED_BY:
        signal.signal(number, stop)


def _dry(name: str, arguments: dict[str, Any], signature: inspect.Signature) -> None:
    if "dry_run" in signature.parameters:
        arguments["dry_run"] = True
    elif name in CHANGES:
        raise ConfigError(f"{name} has no dry run", next_step="leave --dry out")


def _exit(error: BaseException, *, as_json: bool, debug: bool, env: str) -> NoReturn:
    """Say an error in three lines and leave with its exit code; nothing stops that any more."""
    for number in STOPPED_BY:
        signal.signal(number, signal.SIG_IGN)
    if debug:
        sys.stderr.write(visible(redact("".join(traceback.format_exception(error)))))
    if not isinstance(error, WindlassError):
        error = _of_the_server(error, env) or WindlassError(
            f"an error of Windlass itself: {type(error).__name__}: {error}",
            state="not known: look before you start it again",
            next_step="run it again with --debug, and report what it prints",
        )
    code = 143 if isinstance(error, Interrupted) and error.by_sigterm else error.exit_code
    sys.stderr.write(deployment.error_text(error.what, error.state, error.next_step) + "\n")
    runner.tell(functools.partial(_failure_page, error=error))
    if as_json:
        _out(format.as_json({"error": _document(error, code)}), as_json=True)
    raise Exit(code=code) from None


def _stopped(error: KeyboardInterrupt, name: str, env: str) -> Interrupted:
    """Return the error of a task that was stopped before it could say more itself."""
    again = f"start it again: invoke {redact(shlex.join(sys.argv[1:]))}"
    if name in READS:
        state = f"nothing was changed: {name.replace('_', '.')} only reads"
    else:
        state = "not read: the run was stopped before it could look"
        again = f"invoke status --env {env} shows what stands; then {again}" if env else again
    return Interrupted(
        "stopped by SIGTERM" if isinstance(error, Terminated) else "stopped by Ctrl-C",
        state=state,
        next_step=again,
        by_sigterm=isinstance(error, Terminated),
    )


def _of_the_server(error: BaseException, env: str) -> WindlassError | None:
    """Return what a database said, which is no error of ours; None where it was no database."""
    import psycopg  # it takes 0.1 s, and tasks without a database run without it

    from ..database.errors import in_words

    if not isinstance(error, psycopg.Error):
        return None
    return WindlassError(
        in_words(error),
        state="not known, because the database did not answer",
        next_step="look at the server and its log; when it answers: "
        + (f"invoke status --env {env}" if env else "start it again"),
    )


def _document(error: WindlassError, code: int) -> dict[str, object]:
    """Return an error as JSON has it; without a file `file` and `line` are null."""
    place = found_at(error)
    return {
        "kind": type(error).__name__,
        "exit_code": code,
        "what": redact_to(error.what, deployment.LONGEST_PART),
        "state": redact_to(error.state, deployment.LONGEST_PART),
        "next_step": redact_to(error.next_step, deployment.LONGEST_PART),
        "step": error.step or None,
        "file": place.file if place else None,
        "line": (place.line or None) if place else None,
    }


def _failure_page(run: summary.Run, error: WindlassError) -> markdown.Page:
    root = run.root or Path.cwd()
    return summary.failure_page(run, error, lambda path: (root / path).is_file())


def _out(text: str, *, as_json: bool) -> None:
    if runner.current() and as_json:
        text = runner_commands.harmless_json(text)
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def project() -> config.Config:
    """Return the nearest deploy.yml, where a task is about no environment."""
    return config.load(deploy_file())


def loaded_for(env: str) -> config.Config:
    """Return the nearest deploy.yml, where a task is about one environment."""
    file = deploy_file()
    if on_github := runner.current():
        run, root = on_github.run, file.resolve().parent
        run.environment, run.root, run.prefix = env, root, runner.prefix(root)
    loaded = config.load(file)
    if not env:
        raise ConfigError(
            "no environment was named", next_step=f"--env with one of: {', '.join(loaded.names)}"
        )
    return loaded


def deploy_file() -> Path:
    """Return the nearest deploy.yml, here or above; the one here where there is none."""
    here = Path.cwd()
    files = [d / "deploy.yml" for d in here.parents if (d / "deploy.yml").exists()]
    return Path("deploy.yml") if Path("deploy.yml").exists() or not files else files[0]


@contextmanager
def opened(env: str, *, show_queries: bool = False, changes: str = "") -> "Iterator[Work]":
    """Open the world of an environment, and a console that tells what happens in it.

    `changes` names a task that changes something: why it is refused is recorded.
    """
    from ..deployment.events import recording
    from ..deployment.work import open_work
    from ..origin import new_deployment_id
    from ..report.console import Console

    settings = loaded_for(env).environment(env)
    console = Console()
    identifier = new_deployment_id(datetime.now(UTC))
    if on_github := runner.current():
        on_github.run.results, on_github.run.findings = console.results, console.findings
    try:
        with (
            open_work(
                settings, deployment_id=identifier, reporter=console, show_queries=show_queries
            ) as work,
            recording(work, changes),
        ):
            yield work
    finally:
        console.close()


def at_most_one(**flags: object) -> None:
    """Raise ConfigError where flags are given that exclude each other, or a number below 0."""
    used = [f"--{name}" for name, value in flags.items() if value]
    if len(used) > 1:
        raise ConfigError(
            f"{' and '.join(used)} exclude each other", next_step=f"leave out {used[-1]}"
        )
    for name, value in flags.items():
        if isinstance(value, int) and value < 0:
            raise ConfigError(f"--{name} {value}: expected 1 or more", next_step=f"--{name} 1")


def names_of(text: str) -> tuple[str, ...]:
    """Return the names in a text with commas between them, each once."""
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def span_of(flag: str, text: str | bool, default: Duration) -> Duration:
    """Return the length of time of a flag whose value may be left out; ConfigError: it is none."""
    if isinstance(text, bool):
        return default
    return Duration(age_of(flag, text, example=str(default)).total_seconds())


def age_of(flag: str, text: str, *, example: str) -> timedelta:
    """Return the length of time that a flag says; ConfigError where it is none."""
    try:
        return timedelta(seconds=Duration.parse(text).seconds)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}", next_step=f"{flag} {example}") from None
