"""Our end of the pipe: starts the child in the project, and answers what it asks.

It stays for the next request, because importing an application is slow; one that failed is ended.
Of our environment it gets what a Python needs, and what deploy.yml names; an address comes with a
request that needs one.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg.pq import TransactionStatus

from ... import bubblewrap, process, project_sandbox, purposes, temporary
from ...database.retry import Session
from ...database.silence import Sight
from ...errors import UNCHANGED, ChildFailed, ConfigError, Place, State, StepFailed
from ...secret import redact
from . import variables
from .silent import Listening
from .touched import Moment

CHILD = Path(__file__).parent / "child" / "__main__.py"
# What an answer can bring about that is none: the project can write into the pipe what it wants.
NO_ANSWER = (msgspec.MsgspecError, LookupError, TypeError, ValueError, RecursionError)
T = TypeVar("T")
WITHIN = 300.0  # seconds for what runs no migration; importing an application may take a while
LONGEST = 300  # characters of what is wrong with an answer
NOT_INSTALLED = "ModuleNotFoundError: No module named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where a project's Alembic is. It runs in the directory of its alembic.ini."""

    ini: Path
    shown: Path  # its directory, in messages
    python: Path
    url_variable: str
    environment: tuple[str, ...] = ()  # names of further variables that the project needs
    root: Path | None = None  # the directory of deploy.yml; None: no sandbox, which needs to know
    network: bool = False  # whether the server for copies is reached by the network


class ReportedError(Exception):  # always translated where the request is known
    """An error of the project, of Alembic or of the server, as the child told it."""

    def __init__(self, kind: str, words: str, sqlstate: str | None, at: str) -> None:
        words = redact(words)
        super().__init__(kind, words, sqlstate, at)
        self.kind, self.words, self.sqlstate = kind, words, sqlstate
        self.place = Place.parse(at) if at else None

    @property
    def message(self) -> str:
        """What it says, behind its kind where that says more."""
        kind = (
            ""
            if self.kind in ("ProjectError", "CommandError") or self.sqlstate
            else f"{self.kind}: "
        )
        return f"{kind}{self.words}"

    def __str__(self) -> str:
        """Return where it was and what it says."""
        return f"{self.place}: {self.message}" if self.place else self.message

    @property
    def hint(self) -> str:
        """What to do where it lacks a variable: it gets only those that deploy.yml names."""
        if self.kind not in ("KeyError", "ValidationError"):
            return ""
        return (
            "; a variable that it needs is named in deploy.yml: migrations: {environment: [NAME]}"
        )

    def failed(self, *, state: State = UNCHANGED, next_step: str) -> StepFailed:
        """Return it as an error for people."""
        step = f"{next_step}{self.hint}"
        return StepFailed(self.message, state=state, next_step=step, place=self.place)


@dataclass(frozen=True, slots=True)
class _Rows:
    rows: list[Any]

    def fetchall(self) -> list[Any]:
        return self.rows


class ChildSession:
    """The child's own session: what it executes runs in the transaction of the revision."""

    def __init__(self, talk: "_Conversation", *, pid: int, alone: bool) -> None:
        self._talk, self.autocommit = talk, alone
        status = TransactionStatus.IDLE if alone else TransactionStatus.INTRANS
        self.info = SimpleNamespace(backend_pid=pid, transaction_status=status)

    def execute(self, query: bytes, /) -> _Rows:
        """Run a statement there.

        Raises:
            psycopg.Error: the server refused it; of the class of its SQLSTATE.

        """
        return _Rows(self._talk.run(query.decode()))


Event = dict[str, Any]
Listen = Callable[[Event, Callable[[], Session]], str]  # returns what to run instead; mostly ""


def _ignore(_line: str) -> None: ...


def _run_as_written(_event: Event, _session: Callable[[], Session]) -> str:
    return ""


class Child:
    """The process in the project. It is started when first asked, and ended by what failed."""

    def __init__(self, place: Installation, *, approved: bool = False) -> None:
        """Make one that is not started yet.

        Args:
            place: where the project is.
            approved: whether what it runs was let through by the gate: secrets that deploy.yml
                names reach it. Otherwise each is a placeholder, and home an empty directory.

        """
        self.place, self.approved = place, approved
        self.began: Moment | None = None  # when the project's first line could run
        self.unsandboxed = ""  # why there is no sandbox; empty: there is one, or none was tried
        self._sockets: tuple[Path, ...] = ()  # their directories, which it can reach
        self._home: Path | None = None
        self._talk: process.Talk | None = None
        self._messages: Iterator[Event] = iter(())
        self._printed: Callable[[str], None] = _ignore
        self._listening = Listening(None)

    def ask(
        self,
        request: Mapping[str, object],
        *,
        listen: Listen = _run_as_written,
        printed: Callable[[str], None] = _ignore,
        within: float | None = WITHIN,
        sight: Callable[[int], Sight] | None = None,
    ) -> dict[str, Any]:
        """Let the child do something and return its result.

        Args:
            request: `do` is one of the child's verbs; the rest are its arguments.
            listen: is called when a statement is about to run or is done, and when a revision is
                recorded and not yet committed, with the session it is in.
            printed: is called with each line that the project prints.
            within: seconds until the child is ended; None: it may take as long as it takes.
            sight: asks the server about a session of the child, while it runs a statement.

        Raises:
            psycopg.OperationalError: the answer to a statement cannot arrive any more.
            ReportedError: it failed; the caller knows what that means.
            ConfigError: the Python of the project has no Alembic.
            ChildFailed: the child ended without an answer.

        """
        self._let_reach(request.get("connect"))
        talk = self._started()
        self._printed = printed
        deadline = threading.Timer(within or 0, talk.kill)
        if within is not None:
            deadline.start()
        named = variables.named(self.place.environment, os.environ, secrets=self.approved)
        head = {
            "ini": self.place.ini.name,
            "shown": str(self.place.shown),
            "url_variable": self.place.url_variable,
            "scheme": variables.scheme(os.environ.get(self.place.url_variable, "")),
        }
        more = request.get("env", {})
        request = {**request, "env": {**named, **(more if isinstance(more, dict) else {})}}
        try:
            answer = self._conversation(talk, listen, sight).all({**head, **request})
            result = dict(answer["result"]) if "result" in answer else None
            told = ReportedError(**answer["error"]) if "error" in answer else None
        except BaseException as error:
            talk.say(b'{"stop": true}')
            self.end(within=0.5 if isinstance(error, KeyboardInterrupt) else process.GRACE)
            if isinstance(error, NO_ANSWER):
                raise no_answer(self.place, error) from None
            raise
        finally:
            deadline.cancel()
        if result is not None:
            return result
        self._gone(talk)
        if told is not None:
            raise told
        raise StepFailed(
            f"{self.place.python}: ended without an answer, or took longer than {within} s",
            state="what it had begun is rolled back by the server",
            next_step="run alembic current there by hand, and see what holds it up",
        )

    def _conversation(
        self, talk: process.Talk, listen: Listen, sight: Callable[[int], Sight] | None
    ) -> "_Conversation":
        self._listening = Listening(sight)
        return _Conversation(talk, self._messages, listen, self._listening)

    def _let_reach(self, connect: object) -> None:
        """Start a sandboxed child anew where it cannot reach the socket of a copy."""
        host = connect.get("host", "") if isinstance(connect, dict) else ""
        if self.approved or not host.startswith("/") or Path(host) in self._sockets:
            return
        self._sockets = (*self._sockets, Path(host))
        if not self.unsandboxed:
            self.end()

    def _started(self) -> process.Talk:
        if self._talk is None:
            argv = [str(self.place.python), str(CHILD)]
            self._home = home = temporary.make("home")
            needs = self._needs(home)
            talk, ready = None, False
            if needs is not None:
                boxed = project_sandbox.command(argv, needs, cwd=self.place.ini.parent)
                talk, ready = self._start(boxed)
                if not ready:
                    self._note_why(talk)
            self._talk = talk if talk is not None and ready else self._start(argv)[0]
            self.began = self.began or Moment.now(home)
        return self._talk

    def _needs(self, home: Path) -> project_sandbox.Needs | None:
        """Return what it needs in a sandbox; None where it has none, and `unsandboxed` says why."""
        root, python = self.place.root, self.place.python
        if self.approved or root is None:
            return None
        self.unsandboxed = self.unsandboxed or bubblewrap.missing_reason()
        if self.unsandboxed:
            return None
        return project_sandbox.Needs(
            writes=(root, self.place.ini.parent),
            home=home,
            packages=python.parent.parent,
            sockets=self._sockets,
            network=self.place.network,
        )

    def _start(self, argv: list[str]) -> tuple[process.Talk, bool]:
        """Start it and wait until it is ready, or has ended; of the project it has read nothing."""
        # Where programs keep passwords (~/.pgpass, ~/.aws), nobody unapproved looks by default.
        env = {} if self.approved else dict.fromkeys((*variables.HOMES, "TMPDIR"), str(self._home))
        talk = process.Talk(argv, purpose=purposes.PYTHON, env=env, cwd=self.place.ini.parent)
        weakref.finalize(self, _end_child, talk, process.GRACE, self._home)
        self._messages = self._read(talk)
        return talk, next(self._messages, None) is not None

    def _note_why(self, talk: process.Talk) -> None:
        """Keep why a sandbox did not start it; a Python without Alembic is no reason."""
        try:
            talk.end()
        except ChildFailed as error:
            if NOT_INSTALLED not in error.stderr:
                self.unsandboxed = f"bubblewrap does not run here: {error.stderr or error.what}"

    def _read(self, talk: process.Talk) -> Iterator[Event]:
        for line in talk.lines(lambda: self._listening.idle()):
            message = msgspec.json.decode(line, type=dict[str, Any])
            if "printed" in message:
                self._printed(redact(message["printed"]))
            else:
                yield message

    def _gone(self, talk: process.Talk) -> None:
        """Wait for the end of a child that answered last; ChildFailed where it ended otherwise."""
        self._talk = None
        if self._home is not None:
            temporary.remove(self._home)
        try:
            talk.end()
        except ChildFailed as error:
            if NOT_INSTALLED in error.stderr:
                raise _not_installed(self.place, error.stderr) from None
            raise

    @property
    def running(self) -> bool:
        """Whether it was started, and not ended."""
        return self._talk is not None

    def end(self, *, within: float = process.GRACE) -> None:
        """End the child, whatever it does."""
        talk, self._talk = self._talk, None
        if talk is not None:
            _end_child(talk, within, self._home)


def _end_child(talk: process.Talk, within: float, home: Path | None) -> None:
    with suppress(ChildFailed):
        talk.end(within=within)
    if home is not None:
        temporary.remove(home)


class _Conversation:
    """One request and its answer, with what is asked in between."""

    def __init__(
        self,
        talk: process.Talk,
        messages: Iterator[Event],
        listen: Listen,
        listening: Listening,
    ) -> None:
        self._talk, self._messages, self._listen = talk, messages, listen
        self._listening = listening
        self._pid, self._alone = 0, False

    def all(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Send a request and return the last message; an empty one where the child is gone."""
        self._send(request)
        for message in self._messages:
            self._listening.heard()
            if "at" not in message:
                return message
            self._pid = message.get("pid", self._pid)
            self._alone = message.get("alone", self._alone)
            instead = self._listen(message, self._session)
            self._send({"go": True, "instead": instead} if instead else {"go": True})
            if message["at"] in ("statement", "applied"):
                self._listening.sent(self._pid, commits=message["at"] == "applied")
        return {}

    def run(self, statement: str) -> list[Any]:
        """Run a statement in the session of the child, which waits to be told to go on."""
        self._send({"sql": statement})
        self._listening.sent(self._pid)
        message = next(self._messages, None)
        self._listening.heard()
        if message is None:
            raise psycopg.OperationalError("the session of the revision is gone")
        if "failed" in message:
            failure = message["failed"]
            raise psycopg.errors.lookup(failure["sqlstate"] or "XX000")(redact(failure["words"]))
        return [tuple(row) for row in message["rows"]]

    def _session(self) -> Session:
        return ChildSession(self, pid=self._pid, alone=self._alone)

    def _send(self, message: Mapping[str, object]) -> None:
        self._talk.say(msgspec.json.encode(message))


def read_answer(place: Installation, answer: object, kind: type[T]) -> T:
    """Return what a child told as a type; StepFailed where it is not of it."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise no_answer(place, error) from None


def no_answer(place: Installation, error: BaseException) -> StepFailed:
    """Return the error of an answer that is none."""
    what = redact(" ".join(str(error).split()))[:LONGEST]
    return StepFailed(
        f"{place.python}: its answer is none: {type(error).__name__}: {what}",
        state="nothing of it was believed",
        next_step="see what env.py and the revisions write to descriptors that they did not open",
    )


def _not_installed(place: Installation, stderr: str) -> ConfigError:
    line = next(text for text in reversed(stderr.splitlines()) if NOT_INSTALLED in text)
    name = line.rpartition("'")[0].rpartition("'")[2]
    return ConfigError(
        f"{place.python} has no {name}",
        next_step=f"install it there ({place.python} -m pip install {name}), or name the "
        "project's Python: migrations: {python: backend/.venv/bin/python}",
    )


def find_python(wanted: str, *, ini: Path, root: Path) -> Path:
    """Return the project's Python: the one named, else one of a virtual environment nearby.

    Raises:
        ConfigError: there is none.

    """
    if wanted:
        named = Path(os.path.normpath(root / wanted))  # not resolved: a link is the environment
        if not named.exists():
            raise ConfigError(
                f"migrations.python: {wanted}: no such file",
                next_step="name the Python that has the project's Alembic, or make it: "
                "python -m venv .venv",
            )
        return named
    below = (".venv/bin/python", "venv/bin/python")
    for candidate in (place / name for place in (ini.parent, root) for name in below):
        if candidate.exists():
            return candidate
    raise ConfigError(
        f"no virtual environment next to {ini.name}: .venv and venv were looked for",
        next_step="name the project's Python: migrations: {python: backend/.venv/bin/python}",
    )
