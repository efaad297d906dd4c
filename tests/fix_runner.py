"""A job of GitHub's, without GitHub: its environment, its files, and how its runner reads a log.

The reading follows actions/runner (src/Runner.Common/ActionCommand.cs, and the stop token of
src/Runner.Worker/ActionCommandManager.cs), both streams in one.
"""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests import warm
from tests.kit import WINDLASS, Project, Ran

COMMANDS = {
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "internal-set-repo-path",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
}


@dataclass
class Heard:
    """What a runner made of a log."""

    obeyed: list[tuple[str, str, str]] = field(default_factory=list)  # name, properties, data
    text: list[str] = field(default_factory=list)  # what stands in the log

    def of(self, name: str) -> list[tuple[str, str]]:
        return [(properties, data) for found, properties, data in self.obeyed if found == name]

    @property
    def log(self) -> str:
        """The log, as a reader gets it: the masked values in the clear, for the tests look."""
        return "\n".join(self.text)


def heard(*streams: str, stops: bool = True) -> Heard:
    """Read streams one after the other; `stops` False: as if the token came too late."""
    found, token = Heard(), ""
    for line in re.split(r"\r\n|\r|\n", "\n".join(streams)):
        name, properties, data = _command(line, token)
        if token and name == token:
            token = ""
        elif name and not token:
            found.obeyed.append((name, properties, data))
            if name == "stop-commands" and stops:
                token = data
        else:
            found.text.append(line)
    return found


def _command(line: str, token: str) -> tuple[str, str, str]:
    known = COMMANDS | ({token} if token else set())
    new = re.match(r"\s*::([^ ]*?)( .*?)?::(.*)", line)
    old = re.search(r"##\[([^\] ]*)( [^\]]*)?\](.*)", line)
    for match in (new, old):
        if match and match[1] in known:
            return match[1], (match[2] or "").strip(), match[3]
    return "", "", ""


def outputs_of(file: Path) -> dict[str, str]:
    """Return the outputs of a step, as the runner reads them with a delimiter."""
    text = file.read_text() if file.exists() else ""
    found = re.findall(r"^([\w-]+)<<(\S+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL)
    return {name: value for name, _, value in found}


@dataclass
class Job:
    """A job of GitHub's over a project; each run of a task is a step of its own."""

    project: Project
    steps: int = 0

    @property
    def summary(self) -> str:
        return self._file("summary").read_text() if self._file("summary").exists() else ""

    @property
    def outputs(self) -> dict[str, str]:
        return outputs_of(self._file("output"))

    def _file(self, what: str) -> Path:
        return self.project.home.parent / f"{what}-{self.steps}"

    def run(self, *arguments: str, **more: str) -> Ran:
        """Run a task as a step of the job: a process of its own, whose streams are pipes."""
        env = self.variables(**more)
        answer = warm.run_piped(arguments, cwd=self.project.home, env=env, within=90)
        return Ran(answer["code"], answer["out"], answer["err"])

    def run_cold(self, *arguments: str, **more: str) -> Ran:
        """Do the same in a Python that starts anew, as where `more` changes what it starts with."""
        ended = subprocess.run(
            [WINDLASS, *arguments],
            cwd=self.project.home,
            env=self.variables(**more),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def variables(self, **more: str) -> dict[str, str]:
        """Return what a runner sets for the next step of the job."""
        self.steps += 1
        job = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.project.home.parent),
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_RUN_ID": "1",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_ACTOR": "ann",
            "GITHUB_SHA": "c" * 40,
            "GITHUB_STEP_SUMMARY": str(self._file("summary")),
            "GITHUB_OUTPUT": str(self._file("output")),
        }
        return {**self.project.variables(), **job, **more}
