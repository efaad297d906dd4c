"""What squawk finds in a file. Its rules keep their names; what the engine does itself is left out.

Lines come 0-based from it, and one syntax error hides every other finding of a file, so that such
a file is unknown to it.
"""

import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from .. import process, purposes, temporary
from ..errors import UNCHANGED, StepFailed
from ..model import Effect, Finding
from ..parser.file import SqlFile
from ..parser.split import Statement
from .catalog import Catalog
from .rules import OPAQUE

PACKAGE = "squawk-cli"
WITHIN = 60.0  # seconds; 8,000 statements take 0.1
NO_CONFIG = "/dev/null"  # else it looks for a .squawk.toml above, which may say anything
# The runner owns timeouts and transactions; taste is not danger; the others we know more of.
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
)
DOES: dict[str, Effect] = {
    "changing-column-type": "rewrite",
    "adding-not-nullable-field": "scan",
    "constraint-missing-not-valid": "scan",
    "adding-foreign-key-constraint": "scan",
    "disallowed-unique-constraint": "scan",
    "adding-serial-primary-key-field": "scan",
    "require-concurrent-index-creation": "scan",
    "require-concurrent-reindex": "scan",
}
GENERIC, SPECIFIC = (
    "constraint-missing-not-valid",
    frozenset(
        {
            "adding-foreign-key-constraint",
            "disallowed-unique-constraint",
            "adding-serial-primary-key-field",
        }
    ),
)
# They break what still runs; behind the restart that is their place.
BREAKS_OLD_CODE = ("ban-drop-", "renaming-", "ban-set-schema", "adding-required-field")


def squawk_findings(files: Iterable[SqlFile], catalog: Catalog | None) -> dict[Path, list[Finding]]:
    """Return what squawk says of each file, by its path. It runs at most twice.

    Raises:
        StepFailed: it did not run; its version is locked with ours.

    """
    known = {f"{number}.sql": file for number, file in enumerate(files)}
    results: dict[str, list[Finding]] = {name: [] for name in known}
    for transactional in (True, False):
        selected = {
            name: file for name, file in known.items() if file.transactional is transactional
        }
        for report in (
            _run_squawk(selected, catalog, transactional=transactional) if selected else ()
        ):
            name = Path(report["file"]).name
            results[name].append(_finding(known[name], report))
    return {file.path: _without_duplicates(file, results[name]) for name, file in known.items()}


def _without_duplicates(file: SqlFile, results: list[Finding]) -> list[Finding]:
    if file.phase == "after":
        results = [finding for finding in results if not finding.rule.startswith(BREAKS_OLD_CODE)]
    specific = {finding.statement for finding in results if finding.rule in SPECIFIC}
    return [
        finding
        for finding in results
        if finding.rule != GENERIC or finding.statement not in specific
    ]


def _run_squawk(
    files: Mapping[str, SqlFile], catalog: Catalog | None, *, transactional: bool
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
    argv += ["--pg-version", f"{catalog.major}.0"] if catalog else []
    with temporary.directory("lint") as place:
        for name, file in files.items():
            path = place / name
            path.write_text(file.text, encoding="utf-8")
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


def _finding(file: SqlFile, report: dict[str, str]) -> Finding:
    line, rule = int(report["line"]) + 1, report["rule_name"]
    statement = _statement_at(file, line)
    first = report["message"].split(". ", 1)[0].rstrip(".").replace("`", "")
    # The help is added where there is one: a person reads one line at night.
    message = f"{first}. {report['help'].replace('`', '')}" if report.get("help") else first
    broken = rule == "syntax-error"
    return Finding(
        level=OPAQUE.level if broken else "warning",
        rule=OPAQUE.id if broken else rule,
        file=str(file.path),
        line=line,
        message=f"squawk cannot read it: {first}" if broken else message.rstrip("."),
        statement=statement.line if statement else 0,
        table=table_of(statement) if statement else "",
        does=DOES.get(rule, ""),
    )


def _statement_at(file: SqlFile, line: int) -> Statement | None:
    """Return the statement that holds a line; the last that begins above it."""
    return next(
        (statement for statement in reversed(file.statements) if statement.line <= line), None
    )


def table_of(statement: Statement) -> str:
    """Return the table that a statement changes, without its schema; empty where it is not one."""
    node = statement.node
    if statement.kind in (
        "alter_table_stmt",
        "index_stmt",
        "update_stmt",
        "delete_stmt",
        "reindex_stmt",
    ):
        return str(node.relation.relname)
    return ""
