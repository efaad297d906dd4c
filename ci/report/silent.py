"""A reporter that tells nothing: for a Python caller, who reads the documents."""

from ..model import Finding, StepName, StepResult


class Silent:
    """Is told what happens, and drops it; a `Reporter`."""

    def started(self, step: StepName, *, undo: bool = False) -> None:
        """Drop that a step begins."""

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Drop how far it is."""

    def item(self, step: StepName, what: str, detail: str, seconds: float) -> None:
        """Drop that a part of the step is done."""

    def note(self, text: str) -> None:
        """Drop what a person should know: the documents have it too."""

    def found(self, finding: Finding) -> None:
        """Drop a finding of lint."""

    def alarm(self, text: str) -> None:
        """Drop that policy was set aside: the record of the deployment has it."""

    def finished(self, result: StepResult) -> None:
        """Drop that a step ended."""
