"""What all tasks share: signals, errors in three lines, exit codes, --json, the environment."""

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

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from .. import config
from ..errors import ConfigError, Interrupted, Terminated, WindlassError, found_at
from ..report import deployment, format, runner, runner_commands, summary
from ..secret import redact, remember_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..deployment.work import Work

Answer = tuple[object, str]  # the JSON document, the text for people
Verb = Callable[..., "Answer | tuple[object, str, int]"]

COMMON = {
    "env": "environment of deploy.yml (required)",
    "json": "one JSON document on standard output (default: no)",
    "debug": "show the traceback of an error (default: no)",
    "dry-run": "show what would be done, change nothing (default: no)",
    "show-queries": "show the queries of who blocks us; they may hold personal data (default: no)",
}
CHANGES = ("create", "backup", "restart", "init")  # no dry run of their own: refused under one


def verb(*positional: str, **help_: str) -> Callable[[Verb], Any]:
    """Make a task of a function that returns its JSON document, its text and, if not 0, its code.

    `positional` are the flags whose value may stand without the flag.

    One place for what all tasks share: signals, errors in three lines, exit codes, `--json`, and
    that `invoke --dry` is a dry run (Invoke itself would run our code).
    """

    def make(body: Verb) -> Any:  # noqa: ANN401  # invoke's Task is not generic in its body's type
        parameters = inspect.signature(body).parameters

        @functools.wraps(body)
        def run(c: Context, **arguments: Any) -> None:  # noqa: ANN401  # whatever the body takes
            as_json = bool(arguments.get("json"))
            remember_environment(os.environ)
            with runner.attached():
                try:
                    _signals()
                    if c.config.run.dry:
                        _dry(body.__name__, arguments, parameters)
                    answer = body(c, **arguments)
                except (WindlassError, KeyboardInterrupt) as error:
                    _end(error, as_json=as_json, debug=bool(arguments.get("debug")))
                except Exception as error:  # noqa: BLE001  # a bug: three lines all the same
                    _end(error, as_json=as_json, debug=bool(arguments.get("debug")))
                document, text, code = answer if len(answer) == 3 else (*answer, 0)
                _out(format.as_json(document) if as_json else redact(text), as_json=as_json)
            if code:
                raise Exit(code=code)

        texts = COMMON | {k.strip("_").replace("_", "-"): v for k, v in help_.items()}
        used = {name.strip("_").replace("_", "-") for name in parameters}
        return task(
            run,
            positional=list(positional),
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
    sys.stderr.write(deployment.error_text(error.what, error.state, error.next_step) + "\n")
    runner.tell(functools.partial(_failure_page, error=error))
    if as_json:
        _out(format.as_json({"error": _document(error, code)}), as_json=True)
    raise Exit(code=code) from None


def _document(error: WindlassError, code: int) -> dict[str, object]:
    """Return an error as JSON has it; without a file `file` and `line` are null."""
    place = found_at(error)
    return {
        "kind": type(error).__name__,
        "exit_code": code,
        "what": error.what,
        "state": error.state,
        "next_step": error.next_step,
        "step": error.step or None,
        "file": place.file if place else None,
        "line": (place.line or None) if place else None,
    }


def _failure_page(run: summary.Run, error: WindlassError) -> summary.Page:
    root = run.root or Path.cwd()
    return summary.failure_page(run, error, lambda path: (root / path).is_file())


def _out(text: str, *, as_json: bool) -> None:
    if runner.current() and as_json:
        text = runner_commands.harmless_json(text)
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def settings_of(env: str) -> config.Settings:
    """Return one environment of the nearest deploy.yml."""
    return loaded_for(env).environment(env)


def loaded_for(env: str) -> config.Config:
    """Return the nearest deploy.yml, for a task that is about one environment."""
    file = deploy_file()
    if on_github := runner.current():
        run = on_github.run
        run.environment = env
        run.root, run.prefix = file.resolve().parent, runner.prefix(file.resolve().parent)
    loaded = config.load(file)
    if not env:
        raise ConfigError(
            "no environment was named", next_step=f"--env with one of: {', '.join(loaded.names)}"
        )
    return loaded


def deploy_file() -> Path:
    """Return the nearest deploy.yml, here or above; the one here where there is none."""
    here = Path.cwd()
    above = [d / "deploy.yml" for d in here.parents if (d / "deploy.yml").exists()]
    return Path("deploy.yml") if Path("deploy.yml").exists() or not above else above[0]


@contextmanager
def opened(env: str, *, show_queries: bool = False) -> "Iterator[Work]":
    """Open the world of an environment, and a console that tells what happens in it."""
    from ..deployment.work import open_work
    from ..origin import new_deployment_id
    from ..report.console import Console

    settings = settings_of(env)
    console = Console()
    identifier = new_deployment_id(datetime.now(UTC))
    if on_github := runner.current():
        on_github.run.results, on_github.run.findings = console.results, console.findings
    try:
        with open_work(
            settings, deployment_id=identifier, reporter=console, show_queries=show_queries
        ) as work:
            yield work
    finally:
        console.close()


def ask(question: str) -> str | None:
    """Return what a person typed, lower case; None where nobody can."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower()


def at_most_one(**flags: object) -> int:
    """Return how many of the flags are given; ConfigError where they exclude each other."""
    given = [f"--{name}" for name, value in flags.items() if value]
    if len(given) > 1:
        raise ConfigError(
            f"{' and '.join(given)} exclude each other", next_step=f"leave out {given[-1]}"
        )
    for name, value in flags.items():
        if isinstance(value, int) and value < 0:
            raise ConfigError(f"--{name} {value}: expected 1 or more", next_step=f"--{name} 1")
    return len(given)
