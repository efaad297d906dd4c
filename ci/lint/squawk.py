"""What squawk finds in a file. Its rules keep their names; what the engine does itself is left out.

Lines come 0-based from it, and one syntax error hides every other finding of a file, so that such
a file is unknown to it.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from .. import process, purposes, temporary
from ..errors import UNCHANGED, StepFailed
from ..parser.file import SqlFile
from .table_rules import OF_SQUAWK

PACKAGE = "squawk-cli"
WITHIN = 60.0  # seconds; 8,000 statements take 0.1
NO_CONFIG = "/dev/null"  # else it looks for a .squawk.toml above, which may say anything
# The runner owns timeouts and transactions; taste is not danger; the others are rules of ours.
NOT_ASKED = (
    "require-lock-timeout",
    "require-statement-timeout",
    "transaction-nesting",
    "ban-uncommitted-transaction",
    "ban-concurrent-index-creation-in-transaction",
    "prefer-robust-stmts",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "ban-char-field",
    "require-enum-value-ordering",
    "ban-truncate-cascade",
    "adding-field-with-default",
    "ban-drop-database",
    "ban-alter-domain-with-add-constraint",
    *(rule.id for rule in OF_SQUAWK),
)
# They break what still runs; behind the restart that is their place.
BREAKS_OLD_CODE = ("ban-drop-", "renaming-", "ban-set-schema")
SYNTAX_ERROR = "syntax-error"


class Said(NamedTuple):
    """What squawk says of a statement: its number in the file, from 0, and the line of its place.

    message: without a full stop; empty help is left out.
    """

    rule: str
    number: int
    line: int
    message: str


def squawk_says(files: Iterable[SqlFile], major: int) -> dict[Path, list[Said]]:
    """Return what squawk says of each file, by its path, once of a rule and statement.

    It runs at most twice. `major` is the server's; 0: not known.

    Raises:
        StepFailed: it did not run; its version is locked with ours.

    """
    known = {f"{number}.sql": file for number, file in enumerate(files)}
    results: dict[Path, list[Said]] = {file.path: [] for file in known.values()}
    for transactional in (True, False):
        selected = {
            name: file
            for name, file in known.items()
            if file.transactional is transactional and file.statements
        }
        for report in _run_squawk(selected, major, transactional=transactional) if selected else ():
            file = known[Path(report["file"]).name]
            results[file.path].append(_said(file, report))
    return {file.path: _without_duplicates(file, results[file.path]) for file in known.values()}


def _without_duplicates(file: SqlFile, results: list[Said]) -> list[Said]:
    if file.phase == "after":
        results = [report for report in results if not report.rule.startswith(BREAKS_OLD_CODE)]
    first = {(report.rule, report.number): report for report in reversed(results)}
    return [*first.values()][::-1]


def _text(file: SqlFile) -> str:
    """Return each statement from a line of its own; a comment at its end does not hide the next."""
    return "".join(f"{statement.sql}\n;\n" for statement in file.statements)


def _run_squawk(
    files: Mapping[str, SqlFile], major: int, *, transactional: bool
) -> list[dict[str, str]]:
    argv = [
        str(_program()),
        "--config",
        NO_CONFIG,
        "--reporter",
        "json",
        "--exclude",
        ",".join(NOT_ASKED),
    ]
    argv += ["--assume-in-transaction"] if transactional else []
    argv += ["--pg-version", f"{major}.0"] if major else []
    with temporary.directory("lint") as place:
        for name, file in files.items():
            path = place / name
            path.write_text(_text(file), encoding="utf-8")
            argv.append(str(path))
        printed = process.run(argv, purpose=purposes.TOOL, within=WITHIN, check=False)
    try:
        return list(json.loads(printed.stdout))
    except ValueError as error:
        raise _broken(
            f"squawk did not say what it found: {printed.stderr.strip() or error}"
        ) from error


def _program() -> Path:
    """Return where the package was installed; this Python's own scripts may lie elsewhere."""
    try:
        files = metadata.files(PACKAGE) or ()
    except metadata.PackageNotFoundError:
        files = ()
    places = [Path(str(file.locate())) for file in files if file.name == "squawk"]
    program = next((place for place in places if place.is_file()), None)
    if program is None:
        raise _broken(f"the package {PACKAGE} is not installed, or its program is gone")
    return program


def _broken(what: str) -> StepFailed:
    return StepFailed(
        what,
        state=UNCHANGED,
        next_step=f"reinstall the locked version: pip install {PACKAGE}",
    )


def _said(file: SqlFile, report: dict[str, str]) -> Said:
    """Return a report of squawk's, whose lines are 0-based ones of `_text`."""
    rule, line = report["rule_name"], int(report["line"])
    lengths = (statement.sql.count("\n") + 2 for statement in file.statements)
    starts = [0, *accumulate(lengths)]
    number = min(bisect_right(starts, line) - 1, len(file.statements) - 1)
    first = report["message"].split(". ", 1)[0].rstrip(".").replace("`", "")
    # The help is added where there is one: a person reads one line at night.
    message = f"{first}. {report['help'].replace('`', '')}" if report.get("help") else first
    return Said(
        rule=rule,
        number=number,
        line=file.statements[number].line + line - starts[number],
        message=first if rule == SYNTAX_ERROR else message.rstrip("."),
    )
