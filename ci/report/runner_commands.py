"""What GitHub's runner reads of a log: commands, and how a text is kept from being one. Pure.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands, and what the
runner does with a line: actions/runner, src/Runner.Common/ActionCommand.cs.
"""

import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import quote

from ..errors import Place
from ..model import Finding, FindingLevel
from ..secret import redact
from ..visible import visible

Kind = Literal["error", "warning", "notice"]
KINDS: dict[FindingLevel, Kind] = {
    "error": "error",
    "unknown": "warning",
    "warning": "warning",
    "note": "notice",
}
AT_MOST = 10  # of each kind and step; the runner drops the rest without a word
LONGEST = 4000  # characters of a message; GitHub takes 64 KiB, and shows the beginning


class Annotation(NamedTuple):
    """One remark on a file; `line` 0: on the file, `file` empty: on the run."""

    kind: Kind
    title: str
    message: str
    file: str = ""  # relative to the repository's root
    line: int = 0


def workflow_command(name: str, data: str = "", **properties: str | int) -> str:
    """Return a line that the runner obeys; properties without a value are left out."""
    parameters = [f"{key}={_property(str(value))}" for key, value in properties.items() if value]
    return f"::{name}{' ' if parameters else ''}{','.join(parameters)}::{_data(data)}"


def _data(text: str) -> str:
    return visible(_escaped(redact(text)))


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def harmless(line: str) -> str:
    """Return a line that the runner takes for a text: with a blank where a command would begin.

    It obeys `::name::` behind any white space, and `##[name]` anywhere. It compares by culture,
    which passes over what does not show; so these are passed over here too.
    """
    shown = "".join(c for c in line if c == "\t" or unicodedata.category(c) not in ("Cc", "Cf"))
    if not ("##[" in shown or shown.lstrip().startswith("::")):
        return line
    start = len(shown) - len(shown.lstrip())
    if shown[start:].startswith("::"):
        shown = f"{shown[:start]}: :{shown[start + 2 :]}"
    return shown.replace("##[", "## [")


def lines_of(text: str) -> list[str]:
    """Return the lines as the runner counts them: a carriage return ends one too."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def harmless_json(text: str) -> str:
    """Return the same JSON document without `##[`, which only its strings can contain."""
    return text.replace("##[", "#\\u0023[")


def annotations(annotations: Iterable[Annotation]) -> tuple[str, ...]:
    """Return the commands, each kind within the runner's limit; the last says what is left out."""
    by_kind: dict[Kind, list[Annotation]] = {"error": [], "warning": [], "notice": []}
    for annotation in annotations:
        by_kind[annotation.kind].append(annotation)
    lines: list[str] = []
    for kind, all_ in by_kind.items():
        shown = all_ if len(all_) <= AT_MOST else all_[: AT_MOST - 1]
        lines += [
            workflow_command(
                kind,
                redact(annotation.message)[:LONGEST],
                file=annotation.file,
                line=annotation.line,
                title=annotation.title,
            )
            for annotation in shown
        ]
        if left := len(all_) - len(shown):
            lines.append(
                workflow_command(
                    kind,
                    f"{left} more are left out here: GitHub shows {AT_MOST} of a kind for "
                    "a step; the log has them all",
                    title=f"{left} more",
                )
            )
    return tuple(lines)


def of_finding(finding: Finding, prefix: str) -> Annotation:
    """Return a finding of lint as an annotation; `prefix` leads from the root to deploy.yml."""
    return Annotation(
        KINDS[finding.level],
        finding.rule,
        finding.message,
        in_repository(finding.file, prefix),
        finding.line,
    )


def of_failure(what: str, next_step: str, place: Place | None, prefix: str) -> Annotation:
    """Return an error as an annotation, at its place; None: on the run."""
    return Annotation(
        "error",
        "Windlass",
        f"{what}\nnext: {next_step}",
        in_repository(place.file, prefix) if place else "",
        place.line if place else 0,
    )


def in_repository(file: str, prefix: str) -> str:
    """Return a path from the repository's root, given it from deploy.yml's directory."""
    return f"{prefix}/{file}" if prefix and not file.startswith("/") else file


def uri(path: str) -> str:
    """Return a relative path as a URI reference."""
    return quote(path, safe="/")


def output(name: str, value: str, delimiter: str) -> str:
    """Return an entry of GITHUB_OUTPUT; the delimiter is random, so that no value can end it."""
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def masks(values: Iterable[str], shortest: int) -> tuple[str, ...]:
    """Return a mask for each line of each value: the runner masks line by line."""
    lines = {line.strip() for value in values for line in lines_of(value)}
    return tuple(f"::add-mask::{_escaped(line)}" for line in sorted(lines) if len(line) >= shortest)
