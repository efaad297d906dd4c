"""The service on the copy: does the version that serves now work on the new schema, and the new?

What runs here nobody approved. It gets the copy's address and a port, no variable of ours, and
where the machine has a sandbox no file with a password, and no network where the copy is reached by
a socket.
"""

import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from .. import bubblewrap, git, process, project_sandbox, purposes, temporary
from ..config.sections import ServiceConfig, SmokeCheck
from ..database.connection import Database
from ..errors import ChildFailed, ConfigError, StepFailed, Unchanged
from ..model import Moment, ServiceTrial
from ..secret import Secret, redact
from . import relay, trials
from .trials import Old

POLL = 0.1  # seconds
STOPPED_WITHIN = 30.0  # seconds for a container to go
# What a program prints goes to its standard error, whose end is kept.
ALL_TO_ERRORS = ("/bin/sh", "-c", 'exec "$@" >&2', "sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBench:
    """What the trials of a service need.

    checks: what it is asked.
    root: the directory of deploy.yml.
    docker: the variables that reach docker's daemon, for an image.
    """

    config: ServiceConfig
    checks: tuple[SmokeCheck, ...]
    old: Old
    root: Path
    docker: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Program:
    """How a version is started, and which of our variables and directories it gets."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, "str | Secret"]
    purpose: purposes.Purpose
    boxed: bool
    relayed: bool = False  # it has no network; its port is reached through a door
    container: str = ""


@dataclass
class Trials:
    """The trials of one rehearsal, in their order."""

    bench: ServiceBench
    copy: Database
    done: tuple[ServiceTrial, ...] = ()

    def ask(self, version: Literal["old", "new"], moment: Moment) -> None:
        """Start a version on the copy as it is now, ask it, and end it.

        Raises:
            StepFailed: it does not answer right; says what it answered, and the end of its log.

        """
        bench = self.bench
        name = bench.old.name if version == "old" else f"{Path(bench.config.run[0]).name} of here"
        if version == "old" and bench.old.absent:
            self.skip(version, moment, bench.old.absent)
            return
        with ExitStack() as stack:
            port = _free_port()
            program = stack.enter_context(_program(bench, version, self.copy, port))
            ready, slowest = _serve(bench, program, port, (version, name, moment))
        trial = ServiceTrial(
            version=version,
            name=name,
            moment=moment,
            checks=len(bench.checks),
            ready=ready,
            slowest=slowest,
        )
        self.done = trials.replaced(self.done, trial)

    def skip(self, version: Literal["old", "new"], moment: Moment, reason: str) -> None:
        """Record that a version was not tried, and why."""
        trial = ServiceTrial(version=version, name="", moment=moment, not_tried=reason)
        self.done = trials.replaced(self.done, trial)


def require_plain(config: ServiceConfig) -> None:
    """Raise ConfigError where a command holds a secret: whoever answers here could keep it."""
    for key, words in (("run", config.run), ("old.run", config.old.run)):
        if any(redact(word) != word for word in words):
            raise ConfigError(
                f"rehearsal.service.{key} holds a secret, and it starts what nobody has approved",
                next_step="take it out; the copy's address is in the variable "
                f"{config.variable} there",
            )


def _serve(
    bench: ServiceBench,
    program: _Program,
    port: int,
    about: tuple[Literal["old", "new"], str, Moment],
) -> tuple[float, float]:
    """Return after how many seconds every check held, and the slowest answer then."""
    from ..smoke import ask_once  # requests takes 0.1 s to import

    smoke = trials.asked_at(bench.config, bench.checks, port)
    began = time.monotonic()
    deadline = began + bench.config.deadline.seconds
    problem, answered = "it was not asked", False
    try:
        with (
            relay.door(port) if program.relayed else nullcontext() as stdin,
            process.background(
                (*ALL_TO_ERRORS, *program.argv),
                purpose=program.purpose,
                env=program.env,
                cwd=program.cwd,
                stdin=stdin,
            ) as running,
        ):
            while time.monotonic() < deadline:
                running()
                answers = ask_once(smoke, within=deadline - time.monotonic())
                if not answers.problem:
                    return time.monotonic() - began, answers.slowest
                problem = problem if answers.cut and answered else answers.problem
                answered = True
                time.sleep(POLL)
            log = running.log()
    except ChildFailed as error:
        raise _failure(about, error.what) from error
    raise _failure(about, f"{problem}; {f'its log: {log}' if log else 'its log is empty'}")


def _failure(about: tuple[Literal["old", "new"], str, Moment], problem: str) -> StepFailed:
    version, name, moment = about
    return StepFailed(
        redact(trials.refusal(version, name, moment, problem)),
        state=Unchanged("seen on the copy; the service was not touched"),
        next_step=trials.next_step(version, moment),
    )


@contextmanager
def _program(
    bench: ServiceBench, version: Literal["old", "new"], copy: Database, port: int
) -> Iterator[_Program]:
    """Yield how a version is started; its files are there as long as the block."""
    config, old = bench.config, bench.old
    address = Secret(trials.address(copy.parameters()))
    env: dict[str, str | Secret] = {config.variable: address, config.port: str(port)}
    if version == "old" and old.image:
        yield _container(bench, env, copy, port)
        return
    run = (old.run or config.run) if version == "old" else config.run
    with ExitStack() as stack:
        home = stack.enter_context(temporary.directory("service"))
        cwd = bench.root
        if version == "old" and old.commit:
            cwd = stack.enter_context(git.checked_out(bench.root, old.commit))
        argv = _found(trials.with_port(run, port), cwd, bench.root)
        yield _boxed(argv, bench, cwd, home, copy, env, port)


def _found(argv: tuple[str, ...], cwd: Path, root: Path) -> tuple[str, ...]:
    """Return a command whose program is there: a commit has no virtual environment."""
    program = argv[0]
    if "/" in program and not (cwd / program).exists() and (root / program).exists():
        return (str(root / program), *argv[1:])
    return argv


def _boxed(  # noqa: PLR0913  # what it runs, where, and whom it may reach
    argv: tuple[str, ...],
    bench: ServiceBench,
    cwd: Path,
    home: Path,
    copy: Database,
    env: Mapping[str, "str | Secret"],
    port: int,
) -> _Program:
    """Return a program in a sandbox, where the machine has one; without a network, where it can."""
    host = copy.parameters().get("host", "")
    sockets = tuple(dict.fromkeys((*((Path(host),) if host.startswith("/") else ()), cwd)))
    program = _Program(
        argv=argv,
        cwd=cwd,
        env={**env, "HOME": str(home)},
        purpose=purposes.SERVICE,
        boxed=False,
    )
    if bubblewrap.missing_reason():
        return program
    for network in (False, True) if host.startswith("/") else (True,):
        needs = project_sandbox.Needs(
            writes=(), home=home, packages=bench.root, sockets=sockets, network=network
        )
        if _works(needs, cwd):
            inside = argv if network else relay.command(argv, port)
            command = tuple(project_sandbox.command(inside, needs, cwd=cwd))
            return replace(program, argv=command, boxed=True, relayed=not network)
    return program


def _works(needs: project_sandbox.Needs, cwd: Path) -> bool:
    """Tell whether the kernel lets bubblewrap make the namespaces, and our Python runs there."""
    nothing = ("/bin/true",) if needs.network else (sys.executable, "-IS", "-c", "")
    argv = project_sandbox.command(nothing, needs, cwd=cwd)
    try:
        process.run(argv, purpose=purposes.SERVICE, within=STOPPED_WITHIN)
    except ChildFailed:
        return False
    return True


def _container(
    bench: ServiceBench, env: Mapping[str, "str | Secret"], copy: Database, port: int
) -> _Program:
    """Return the version of an image: a container that sees the copy's socket and no other file."""
    host = copy.parameters().get("host", "")
    volume = ("--volume", f"{host}:{host}") if host.startswith("/") else ()
    names = (word for name in env for word in ("--env", name))
    argv = (
        *("docker", "run", "--rm", "--init", "--network=host", "--cap-drop=ALL"),
        *("--cap-add=DAC_OVERRIDE", "--security-opt=no-new-privileges"),
        *(*volume, *names, bench.old.image, *trials.with_port(bench.old.run, port)),
    )
    return _Program(
        argv=argv,
        cwd=Path("/"),
        env={**bench.docker, **env},
        purpose=purposes.DOCKER,
        boxed=True,
    )


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])
