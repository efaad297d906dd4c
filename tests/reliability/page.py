"""Writes docs/reliability.md from what `make reliability` has played; the same for the same end.

python -m tests.reliability.page DIRECTORY
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.kit import ROOT
from tests.reliability.cells import FAULTS, NOT_PLAYED, VERBS, Cell, Verb, cells, played

PAGE = ROOT / "docs" / "reliability.md"
HEAD = """\
# Reliability

`make reliability` writes this page. Each mark is a run of the real program on a real server, \
hit at one step by one fault. Then the command runs that its message names, or the same command \
again.

A cell holds when all of this is so:

- no row that stood before is lost, and no migration ran twice or was undone twice;
- no lock, session, child, database, object of the store or temporary file is left in the \
end, and no connection limit;
- the last command exits 0, and the history is what was asked for;
- each sentence of the error was true, compared with the database, the store and the service.

| mark | meaning |
| --- | --- |
| ✓ | holds |
| ✗ | does not hold; the reason is below the table |
| · | not played: the fault takes long, and is played at other steps of the verb |
| – | cannot be: no child runs there, or the server, the store or the service is not asked |

"""
FAULT_WORDS = """\
## Faults

| fault | what happens |
| --- | --- |
| kill -9 | the run is killed; its children live on |
| SIGTERM, SIGTERM twice | the run is asked to stop, and asked again while it does |
| child killed | pg_dump, pg_restore, the restart command, the throwaway server or the child \
of Alembic is killed |
| restart, crash | the server restarts: `pg_ctl restart -m fast`, `-m immediate` |
| terminate | every session of the run is ended by the server |
| cut | every connection is reset once |
| black hole | no packet passes in either direction until the run has ended; where that ends \
well, a backup follows it |
| too many | the server has no connection left for a moment |
| read-only | `default_transaction_read_only` is on until the run has ended; where that ends \
well, a backup follows it |
| disk full | the database's disk is full until the run has ended |
| failover | a standby that got nothing of this run is promoted, and serves from then on |
| store gone, store full | its directory is away, or its disk full, until the run has ended |
| store refuses, slow, cuts, corrupts | a store that speaks S3 answers 403, takes 0.3 s more \
for each request, resets its connections, or changes one bit |
| hangs, flaps, dies | the service gives no answer, a good one every other time, or fails later |
| clock +1 h, clock -1 h | the runner's clock is wrong; the next command runs with a right one |

"""
# What differs from one time to the next.
VARYING = (
    (r"\d{8}T\d{6}Z-", ""),
    (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID"),
    (r"shop_(restored|tables|before_restore)_\d{8}_\d{6}", r"shop_\1_TIME"),
    (r"/\S*/", ""),
    (r"\b\d+(\.\d+)? (s|ms|kB|MB)\b", r"N \2"),
    (r"\bpid \d+|\b\d{4,}\b", "N"),
    (r"[0-9a-f]{12,}", "HASH"),
)


def told(problem: str) -> str:
    """Return a problem without what differs from one time to the next."""
    for pattern, instead in VARYING:
        problem = re.sub(pattern, instead, problem)
    return problem.replace("|", "\\|")


def page(results: dict[str, list[str]]) -> str:
    """Return the page of these results: a cell's key, and what does not hold."""
    every = list(cells())
    count = len(results)
    good = sum(not problems for problems in results.values())
    impossible = sum(bool(cell.reason) and cell.reason != NOT_PLAYED for cell in every)
    parts = [
        HEAD,
        f"**{good} of {count} cells hold.** {impossible} cannot be, and "
        f"{len(every) - impossible - len(played())} more were not played.\n\n",
        FAULT_WORDS,
    ]
    parts += [_table(verb, every, results) for verb in VERBS]
    return "".join(parts).rstrip() + "\n"


def _table(verb: Verb, every: Iterable[Cell], results: dict[str, list[str]]) -> str:
    reasons: list[str] = []
    mine = {(cell.place.name, cell.fault): cell for cell in every if cell.verb is verb}
    names = [fault.name for fault in FAULTS]
    lines = [f"## {verb.name}", "", f"| step | {' | '.join(names)} |"]
    lines.append("| --- " + "| --- " * len(names) + "|")
    for place in verb.places:
        marks = [_mark(mine[place.name, fault], results, reasons) for fault in FAULTS]
        lines.append(f"| {place.name} | {' | '.join(marks)} |")
    lines += ["", *(f"{number}. {text}" for number, text in enumerate(reasons, start=1))]
    return "\n".join(lines).rstrip() + "\n\n"


def _mark(cell: Cell, results: dict[str, list[str]], reasons: list[str]) -> str:
    if cell.reason:
        return "·" if cell.reason == NOT_PLAYED else "–"
    problems = results[cell.key]
    if not problems:
        return "✓"
    text = "; ".join(dict.fromkeys(map(told, problems)))
    if text not in reasons:
        reasons.append(text)
    return f"✗ {reasons.index(text) + 1}"


def main(directory: Path) -> int:
    """Write the page; return 0 where every cell was played and holds."""
    results = {
        path.stem.replace("~", "/"): json.loads(path.read_text())
        for path in directory.glob("*.json")
    }
    missing = [cell.key for cell in played() if cell.key not in results]
    if missing:
        sys.stderr.write(f"{len(missing)} cells were not played, such as {missing[0]}\n")
        return 1
    PAGE.write_text(page({cell.key: results[cell.key] for cell in played()}))
    broken = sum(bool(problems) for problems in results.values())
    sys.stderr.write(f"{PAGE}: {len(results) - broken} of {len(results)} cells hold\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
