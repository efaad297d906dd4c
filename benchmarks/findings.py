"""Findings per 100 migrations of real projects, beside what squawk alone says of the same files.

Run: .venv/bin/python benchmarks/findings.py FOLDER …

A folder has a project's migrations, such as prisma/migrations of a checkout: every *.sql below it
that is no rollback or verify script, in the order of the paths. Each is linted as a deployment of
its own, on the catalog that those before it leave, whose tables are in use and of unknown size.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pgwindlass.errors import WindlassError
from pgwindlass.lint import squawk
from pgwindlass.lint.catalog import Catalog
from pgwindlass.lint.severity import graded
from pgwindlass.lint.statements import behind, lint_files
from pgwindlass.lint.table_rules import OF_SQUAWK
from pgwindlass.model import Finding
from pgwindlass.parser.file import SqlFile, parse

MAJOR = 16
ASKED = squawk.squawk_says  # of a project's files once, not of each apart
TASTE = tuple(rule for rule in squawk.NOT_ASKED if rule not in {r.id for r in OF_SQUAWK})
NO_MIGRATION = ("_rollback.sql", "_verify.sql", "down.sql")


def main() -> None:
    """Print a line for each folder: files that can be read, and findings per 100 of them."""
    print("| project | files | errors | other | squawk, less taste and timeouts | squawk |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sys.argv[1:]:
        folder = Path(name)
        paths = [p for p in sorted(folder.rglob("*.sql")) if p.is_file()]
        read = (_read(path) for path in paths if not path.name.endswith(NO_MIGRATION))
        files = [file for file in read if file is not None]
        levels = Counter(finding.level for finding in _findings(files))
        others = levels["warning"] + levels["unknown"]
        alone = [_of_squawk(files, excluded) for excluded in (TASTE, ())]
        per = 100 / max(1, len(files))
        shown = " | ".join(f"{count * per:.0f}" for count in (levels["error"], others, *alone))
        print(f"| {folder.name} | {len(files)} | {shown} |")


def _read(path: Path) -> SqlFile | None:
    try:
        return parse(path, path.read_text())
    except WindlassError:
        return None


def _findings(files: list[SqlFile]) -> Iterator[Finding]:
    """Yield what is listed of each file, deployed on what those before it leave."""
    reports = ASKED(files, MAJOR)

    def answer(files: Iterable[SqlFile], _: int) -> dict[Path, list[squawk.Said]]:
        return {file.path: reports[file.path] for file in files}

    vars(squawk)["squawk_says"] = answer
    catalog = Catalog(major=MAJOR, live=True)
    for number, file in enumerate(files):
        # A first deployment is counted, not listed.
        for finding in graded(lint_files([file], catalog, ()), None) if number else ():
            if not finding.counted:
                yield finding
        catalog = behind([file], catalog)
        tables = {key: replace(t, made=False, size=-1) for key, t in catalog.tables.items()}
        catalog = replace(catalog, tables=tables, enums=dict.fromkeys(catalog.enums, False))


def _of_squawk(files: list[SqlFile], excluded: tuple[str, ...]) -> int:
    """Return how many findings squawk alone has; --assume-in-transaction, as a runner has it."""
    argv = [str(squawk._program()), "--reporter", "json", "--pg-version", f"{MAJOR}.0"]
    argv += ["--assume-in-transaction", "--config", squawk.NO_CONFIG]
    argv += ["--exclude", ",".join(excluded)] if excluded else []
    paths = [str(file.path) for file in files]
    printed = subprocess.run([*argv, *paths], capture_output=True, text=True, check=False)
    return len(json.loads(printed.stdout))


if __name__ == "__main__":
    main()
