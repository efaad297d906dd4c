"""What a person sees while it happens: rich on a terminal, plain lines elsewhere."""

import os
import sys
import textwrap
import time
from typing import TextIO

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn
from rich.text import Text

from ..model import Finding, Outcome, StepName, StepResult
from ..secret import redact_to
from ..visible import LONGEST, visible
from . import deployment, format

PLAIN_EVERY = 5.0  # seconds between two progress lines where there is no terminal
COLOURS = {
    Outcome.OK: "green",
    Outcome.SKIPPED: "yellow",
    Outcome.FAILED: "red",
    Outcome.UNDONE: "cyan",
}


class _Bar(BarColumn):
    """A bar once there is a total; until then nothing."""

    def render(self, task: Task) -> RenderableType:  # type: ignore[override]  # wider than a bar
        return super().render(task) if task.total else Text()


class Console:
    """Writes to standard error, so that standard output is for machines; a `Reporter`.

    Colours and the moving line only on a terminal; NO_COLOR is honoured by rich.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.rich = RichConsole(
            file=stream or sys.stderr, highlight=False, soft_wrap=True, emoji=False, markup=False
        )
        self.results: list[StepResult] = []  # the steps that ended
        self.findings: list[Finding] = []
        self._moving: Progress | None = None
        self._label, self._told = "", 0.0

    def say(self, text: str, *, style: str = "") -> None:
        """Print a text: secrets taken out, and nothing in it steers the terminal."""
        self.rich.print(visible(redact_to(text, LONGEST)), style=style or None)

    def started(self, step: StepName, *, undo: bool = False) -> None:
        """Show the running step; on a terminal alone: elsewhere the line of its end is enough."""
        self._label, self._told = f"undo {step}" if undo else str(step), time.monotonic()
        asks = step is StepName.APPROVAL  # a moving line would write over what the person types
        if self.rich.is_terminal and not asks and os.environ.get("TERM") != "dumb":
            self._moving = Progress(
                SpinnerColumn("line"),
                TextColumn("{task.description}", markup=False),
                _Bar(24),
                TextColumn("{task.fields[status]}", markup=False),
                console=self.rich,
                transient=True,
            )
            self._moving.add_task(f"{self._label} …", total=None, status="")
            self._moving.start()

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Show how far the step is: moving on a terminal, a line now and then elsewhere."""
        of = f" of {total:,}" if total else ""
        status = f"{done:,}{of} {unit}"
        if self._moving is not None:
            self._moving.update(
                self._moving.task_ids[0], completed=done, total=total, status=status
            )
        elif time.monotonic() - self._told > PLAIN_EVERY:
            self._told = time.monotonic()
            self.say(f"  {self._label} … {status}")

    def item(self, step: StepName, what: str, detail: str, seconds: float) -> None:
        """Print a line for one of several things a step does."""
        self.say(f"    {step!s:<12} {what:<54} {detail:<4} {format.seconds(seconds):>8}")

    def note(self, text: str) -> None:
        """Print something a person should know now."""
        self.say(textwrap.indent(text, "    "), style="yellow")

    def found(self, finding: Finding) -> None:
        """Print what lint found, as a compiler would."""
        self.findings.append(finding)
        self.note(str(finding))

    def alarm(self, text: str) -> None:
        """Print something that must not be overlooked."""
        self.say(f"    {text}", style="bold red")

    def finished(self, result: StepResult) -> None:
        """Print the line of a finished step."""
        self._stop()
        self.results.append(result)
        self.say(deployment.step_line(result), style=COLOURS[result.outcome])

    def _stop(self) -> None:
        if self._moving is not None:
            self._moving.stop()
            self._moving = None

    def close(self) -> None:
        """Give the terminal back, also after an error."""
        self._stop()
