"""Every error a person can see: what happened, what state things are in, what to type next.

WindlassError            1  failed
├── ConfigError          2  wrong usage or configuration; nothing was contacted
├── Refused              3  policy said no; nothing was changed
│   ├── NotApproved
│   ├── PlanChanged
│   ├── LockHeld
│   └── Laxer            2  an environment asks for less than its tier
├── StepFailed           1  a step did not do its work
│   ├── ChildFailed         a child process ended with another status than 0, or too late
│   ├── Stopped             ended because what runs beside it failed
│   ├── StoreFailed         a backup store did not take or give what was asked
│   ├── Unreachable         a server does not answer, or does not let us in
│   └── LockTimeout         a table stayed locked by others until `lock.wait` was over
├── RolledBack           4  a step failed, and what can be undone was undone
└── Interrupted        130  somebody pressed Ctrl-C (143: SIGTERM)
"""

from typing import ClassVar


class WindlassError(Exception):
    """Base of all errors that end a task. Subclasses fix the exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, state: str, next_step: str) -> None:
        super().__init__(what)
        self.what, self.state, self.next_step = what, state, next_step

    def __str__(self) -> str:
        return f"{self.what}\n{self.state}\n{self.next_step}"


class ConfigError(WindlassError):
    """`deploy.yml`, a migration file or the command line is wrong; nothing was contacted."""

    exit_code = 2

    def __init__(
        self, what: str, *, state: str = "nothing was contacted or changed", next_step: str
    ) -> None:
        super().__init__(what, state=state, next_step=next_step)


class Refused(WindlassError):
    """Policy said no; nothing was changed."""

    exit_code = 3

    def __init__(self, what: str, *, state: str = "nothing was changed", next_step: str) -> None:
        super().__init__(what, state=state, next_step=next_step)


class NotApproved(Refused):
    """Nobody said yes to this plan, or the yes does not count."""


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
        self, what: str, *, state: str, next_step: str, code: int | None, stderr: str
    ) -> None:
        super().__init__(what, state=state, next_step=next_step)
        self.code, self.stderr = code, stderr


class Stopped(StepFailed):
    """It was ended because what runs beside it failed, whose error is the one to tell."""


class StoreFailed(StepFailed):
    """A backup store did not take or give what was asked."""


class Unreachable(StepFailed):
    """A server does not answer, or does not let us in."""


class LockTimeout(StepFailed):
    """A table stayed locked by others until `lock.wait` was over; nothing of ours waits there."""


class RolledBack(WindlassError):
    """A step failed and everything that can be undone was undone."""

    exit_code = 4


class Interrupted(WindlassError):
    """Somebody pressed Ctrl-C, or the machine asked us to stop."""

    exit_code = 130

    def __init__(self, what: str, *, state: str, next_step: str, by_sigterm: bool = False) -> None:
        super().__init__(what, state=state, next_step=next_step)
        self.by_sigterm = by_sigterm


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived. A KeyboardInterrupt, so that psycopg cancels the statement."""
