"""Every error a person can see: what happened, what state things are in, what to type next.

WindlassError            1  failed
├── ConfigError          2  wrong usage or configuration
├── Refused              3  policy said no; nothing was changed
│   ├── NotApproved
│   ├── PlanChanged
│   ├── LockHeld
│   └── Laxer            2  an environment asks for less than its tier
├── StepFailed           1  a step did not do its work
│   ├── ChildFailed         a child process ended with another status than 0, or too late
│   │   ├── Stalled         its line was dead, and nobody had closed it
│   │   └── Late            its deadline had passed
│   ├── Stopped             ended because what runs beside it failed
│   ├── StoreFailed         a backup store did not take or give what was asked
│   │   └── Untrusted       what it gave is not what was signed
│   ├── Unreachable         a server does not answer, or does not let us in
│   └── LockTimeout         a table stayed locked by others until `lock.wait` was over
├── RolledBack           4  a step failed, and what can be undone was undone
└── Interrupted        130  Ctrl-C was pressed (143: SIGTERM)
"""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict, TypeVar, Unpack

from .visible import in_one_line


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something is wrong.

    file: its path as messages name it, from the directory of deploy.yml.
    line: 1-based; 0: the whole file.
    """

    file: str
    line: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place of a text that `str` made of one: in a document, or from a child."""
        file, _, line = text.rpartition(":")
        return cls(file, int(line)) if file and line.isdecimal() else cls(text)

    def __str__(self) -> str:
        file = in_one_line(self.file)
        return f"{file}:{self.line}" if self.line else file


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A state: nothing was changed, as far as who raises the error knows.

    Whoever ran more before it reads what stands instead, and keeps `own` alone.

    own: what became of its own work; empty: nothing more is to be said.
    claim: what is said of the whole, where nobody reads it.
    """

    own: str = ""
    claim: str = "nothing was changed"

    def __str__(self) -> str:
        return "; ".join(part for part in (self.claim, self.own) if part)


UNCHANGED = Unchanged()
State = str | Unchanged


class Where(TypedDict, total=False):
    """Where an error happened, as keyword arguments of every error.

    place: the file and the line, where it is about one; without: None.
    step: the step of the deployment that failed; without: empty.
    """

    place: Place | None
    step: str


class WindlassError(Exception):
    """Base of all errors that end a task. Subclasses fix the exit code.

    Args:
        message: what happened, without step and place.
        state: what state things are in.
        next_step: what to type next.
        where: see `Where`.

    `given_state` is the state as a value: one error that is raised from another hands it on.

    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, /, *, state: State, next_step: str, **where: Unpack[Where]
    ) -> None:
        super().__init__(message)
        self.message, self.next_step = message, next_step
        self.given_state = state
        self.unwritten = False  # it could not be recorded, and its state says so
        self.place, self.step = where.get("place"), where.get("step", "")

    @property
    def state(self) -> str:
        """What state things are in, in words."""
        return str(self.given_state)

    @property
    def own(self) -> str:
        """What the state says of the error's own work: all of it, but that nothing was changed."""
        given = self.given_state
        return given.own if isinstance(given, Unchanged) else given

    @property
    def what(self) -> str:
        """What happened, behind its step and its place: "migrate: db/1_a.sql:3: syntax error"."""
        return ": ".join(str(part) for part in (self.step, self.place, self.message) if part)

    def __str__(self) -> str:
        return self.what

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own calls the class with `args` alone, and ours want keyword arguments.
        return _bare, (type(self), self.args), self.__dict__


Error = TypeVar("Error", bound=WindlassError)


def _bare(kind: type[Error], args: tuple[object, ...]) -> Error:
    return kind.__new__(kind, *args)


def changed(error: Error, *, state: State = "", next_step: str = "", step: str = "") -> Error:
    """Return a new error like another one, with what is given in place of its own parts.

    The message, the place and the notes stay; the other error is as it was. Raise it `from` that.
    """
    new = copy.copy(error)
    new.given_state = state or error.given_state
    new.next_step = next_step or error.next_step
    new.step = step or error.step
    if hasattr(error, "__notes__"):
        new.__notes__ = list(error.__notes__)
    return new


def more(error: Error, words: str) -> Error:
    """Return a new error like another one, whose state says this too."""
    own = "; ".join(part for part in (error.own, words) if part)
    given = error.given_state
    return changed(
        error, state=Unchanged(own, claim=given.claim) if isinstance(given, Unchanged) else own
    )


def found_at(error: BaseException) -> Place | None:
    """Return the place of an error, or else of what it was raised from; None: neither has one."""
    cause: BaseException | None = error
    while cause is not None:
        place = getattr(cause, "place", None)
        if isinstance(place, Place):
            return place
        cause = cause.__cause__
    return None


class ConfigError(WindlassError):
    """`deploy.yml`, a migration file or the command line is wrong."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        /,
        *,
        state: State = UNCHANGED,
        next_step: str,
        **where: Unpack[Where],
    ) -> None:
        super().__init__(message, state=state, next_step=next_step, **where)


class Refused(WindlassError):
    """Policy said no; nothing was changed."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        /,
        *,
        state: State = UNCHANGED,
        next_step: str,
        **where: Unpack[Where],
    ) -> None:
        super().__init__(message, state=state, next_step=next_step, **where)


class NotApproved(Refused):
    """This plan has no approval, or its approval does not count."""


class PlanChanged(Refused):
    """What would run is not what was planned."""


class LockHeld(Refused):
    """Another deployment holds the deployment lock."""


class Laxer(Refused):
    """An environment asks for less than its tier insists on."""

    exit_code = 2


class StepFailed(WindlassError):
    """A step did not do its work."""


class ChildFailed(StepFailed):
    """A child process ended with another status than 0, or did not end in time.

    `code` is its exit status (negative: the signal that killed it; None: it never started or
    its deadline passed), `stderr` the end of what it wrote there, redacted.
    """

    def __init__(
        self,
        message: str,
        /,
        *,
        state: State,
        next_step: str,
        code: int | None,
        stderr: str,
        **where: Unpack[Where],
    ) -> None:
        super().__init__(message, state=state, next_step=next_step, **where)
        self.code, self.stderr = code, stderr


class Stalled(ChildFailed):
    """A child was ended because nothing moved any more: its line to the server is dead."""


class Late(ChildFailed):
    """A child was ended because its deadline had passed."""


class Stopped(StepFailed):
    """It was ended because what runs beside it failed; that error is the one to report."""


class StoreFailed(StepFailed):
    """A backup store did not take or give what was asked."""


class Untrusted(StoreFailed):
    """What a store gave is not signed by who may sign it, or is not what was signed."""


class Unreachable(StepFailed):
    """A server does not answer, or does not let us in."""


class LockTimeout(StepFailed):
    """A table stayed locked by others until `lock.wait` was over; nothing of ours waits there."""


class RolledBack(WindlassError):
    """A step failed and everything that can be undone was undone."""

    exit_code = 4


class Interrupted(WindlassError):
    """Ctrl-C was pressed, or the machine asked us to stop."""

    exit_code = 130

    def __init__(
        self,
        message: str,
        /,
        *,
        state: State,
        next_step: str,
        by_sigterm: bool = False,
        **where: Unpack[Where],
    ) -> None:
        super().__init__(message, state=state, next_step=next_step, **where)
        self.by_sigterm = by_sigterm


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived. A KeyboardInterrupt, so that psycopg cancels the statement."""
