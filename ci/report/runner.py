"""GitHub's runner, as a task speaks to it; elsewhere this module does nothing.

The runner reads standard output and standard error by two threads, and obeys commands in both. So
every line of either is made harmless by itself, and commands are stopped as well while standard
error tells what comes from outside. Standard output carries no token: it may be piped on.
"""

import io
import os
import secrets
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

from ..secret import SHORTEST, known, redact
from ..visible import visible
from . import runner_commands
from .markdown import LIMIT, Page, rendered
from .runner_commands import Annotation
from .summary import Run

STEP = 1024**2  # bytes of summary that GitHub takes of a step
_current: ContextVar["RunnerSession | None"] = ContextVar("runner", default=None)


class Stream(io.TextIOBase):
    """A standard stream: whole lines, secrets taken out, none of them a command but ours."""

    def __init__(
        self, real: TextIO, before: Callable[[], None], heard: Callable[[], None], mark: str
    ) -> None:
        self.real, self._before, self._heard, self._mark = real, before, heard, mark
        self._rest = ""
        self._lock = threading.RLock()  # a warning may be told while a line is

    @property
    def encoding(self) -> str:  # type: ignore[override]  # TextIOBase has an attribute
        """The encoding of the stream beneath."""
        return self.real.encoding

    def isatty(self) -> bool:
        """Tell whether a person reads it."""
        return self.real.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream beneath."""
        return self.real.fileno()

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Write the lines that are whole; the rest waits for its end: it may be a command."""
        with self._lock:
            *whole, self._rest = runner_commands.lines_of(self._rest + text)
            for line in whole:
                self._line(line)
        return len(text)

    def _line(self, line: str) -> None:
        if line.startswith(self._mark):
            self._heard()
            self.real.write(line[len(self._mark) :] + "\n")
            return
        self._before()
        self.real.write(runner_commands.harmless(redact(line)) + "\n")

    def flush(self) -> None:
        """Hand over what is whole."""
        self.real.flush()

    def end(self) -> None:
        """Write what has no line end too."""
        if self._rest:
            self.write("\n")
        self.flush()


class RunnerSession:
    """What is said to the runner during one task, and kept until its end."""

    def __init__(self, environ: Mapping[str, str], out: TextIO, err: TextIO) -> None:
        self.run = Run()
        self._environ = environ
        self._err, self._token, self._mark = err, secrets.token_hex(16), secrets.token_hex(16)
        self._stopped = False
        self._masked: frozenset[str] = frozenset()
        self._masks = not _is_file(err)
        self._annotations: list[Annotation] = []
        self._lock = threading.RLock()
        self.out = Stream(out, self.mask, self.resume, self._mark)
        self.err = Stream(err, self.stop, self.resume, self._mark)

    def mask(self) -> None:
        """Have the runner mask what became known since; before each line, so before any other.

        Not where standard error is a file: it would keep them.
        """
        with self._lock:
            values = known()
            if values == self._masked:
                return
            new, self._masked = values - self._masked, values
            if self._masks:
                self.resume()
                self._say(*runner_commands.masks(new, SHORTEST))

    def stop(self) -> None:
        """Have the runner obey no command until `resume`."""
        with self._lock:
            self.mask()
            if not self._stopped:
                self._stopped = True
                self._say(f"::stop-commands::{self._token}")

    def resume(self) -> None:
        """Have the runner obey commands again; every line is harmless by itself all the same."""
        with self._lock:
            if self._stopped:
                self._stopped = False
                self._say(f"::{self._token}::")

    def _say(self, *lines: str) -> None:
        self._err.write("".join(f"{line}\n" for line in lines))
        self._err.flush()

    def folded(self, title: str, text: str) -> str:
        """Return a text that the log folds away under a title."""
        group = runner_commands.workflow_command("group", title)
        return f"{self._mark}{group}\n{text}\n{self._mark}::endgroup::"

    def tell(self, page: Page) -> None:
        """Write a page: its summary and its outputs now, its annotations at the end."""
        self._annotations += page.annotations
        try:
            self._append("GITHUB_STEP_SUMMARY", self._fitting(page))
            self._append("GITHUB_OUTPUT", self._outputs(page))
        except OSError as error:
            sys.stderr.write(
                visible(f"the job's summary or outputs could not be written: {error}\n")
            )

    def _fitting(self, page: Page) -> str:
        path = self._environ.get("GITHUB_STEP_SUMMARY")
        size = Path(path).stat().st_size if path and Path(path).exists() else 0
        return rendered(page.sections, min(LIMIT, STEP - size))

    def _outputs(self, page: Page) -> str:
        return "".join(
            runner_commands.output(name, redact(value), secrets.token_hex(16))
            for name, value in page.outputs.items()
        )

    def _append(self, variable: str, text: str) -> None:
        path = self._environ.get(variable)
        if path and text:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(redact(text))

    def close(self) -> None:
        """Say what was kept, and leave the runner obeying runner_commands."""
        self.out.end()
        self.err.end()
        self.resume()
        self._say(*runner_commands.annotations(self._annotations))


def prefix(root: Path) -> str:
    """Return the way from the repository's root to a directory in it; empty: it is the root."""
    root = root.resolve()
    path = _within(root, _repository(root))
    return path if path != "." else ""


def blob(file: Path) -> str:
    """Return the URL of a file at the job's commit; empty where the checkout does not have it."""
    env = os.environ
    path = _within(file.resolve(), _repository(Path.cwd()))
    if env.get("GITHUB_ACTIONS") != "true" or not (path and file.is_file()):
        return ""
    needed = [env.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "SHA")]
    return "/".join((*needed[:2], "blob", needed[2], path)) if all(needed) else ""


def _repository(inside: Path) -> Path:
    if os.environ.get("GITHUB_ACTIONS") == "true" and os.environ.get("GITHUB_WORKSPACE"):
        return Path(os.environ["GITHUB_WORKSPACE"]).resolve()
    folders = (inside, *inside.parents)
    return next((folder for folder in folders if (folder / ".git").exists()), inside)


def _within(path: Path, repository: Path) -> str:
    return path.relative_to(repository).as_posix() if path.is_relative_to(repository) else ""


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # no descriptor beneath it
        return False


@contextmanager
def attached() -> Iterator[None]:
    """Speak to GitHub's runner as long as the block, where this is a job of GitHub's."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    out, err = sys.stdout, sys.stderr
    runner = RunnerSession(os.environ, out, err)
    token = _current.set(runner)
    sys.stdout, sys.stderr = runner.out, runner.err
    try:
        yield
    finally:
        runner.close()
        sys.stdout, sys.stderr = out, err
        _current.reset(token)


def current() -> RunnerSession | None:
    """Return the runner; None where this is no job of GitHub's."""
    return _current.get()


def tell(page: Callable[[Run], Page]) -> None:
    """Write a page about the run, on GitHub alone."""
    if runner := current():
        runner.tell(page(runner.run))


def folded(title: str, text: str) -> str:
    """Return a text, folded away where the log is GitHub's."""
    runner = current()
    return runner.folded(title, text) if runner and text else text
