"""What `lint --fix` writes in the place of one migration: several, in running order. Pure."""

import re
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError, Place
from ..parser.file import SqlFile
from ..parser.split import split
from . import inverse
from .catalog import Catalog
from .forward import Step
from .rule import Remark, Script
from .written import scripts_of

STAMP = 15  # characters of YYYYMMDD_HHMMSS
LONGEST = 80  # characters of a name behind its stamp
_NO_PATH = Path("part.sql")
# Of the whole file; that of a backfill stands above its statement.
DIRECTIVE = re.compile(r"^\s*--\s*windlass:(?!\s*backfill\b).*$", re.MULTILINE)
BACKFILL = re.compile(r"^--\s*windlass:\s*backfill\b")


class Judged(NamedTuple):
    """A statement with what is to be mended of it."""

    step: Step
    remarks: tuple[Remark, ...]


class Trio(NamedTuple):
    """One migration to write; None where it has no such script."""

    name: str
    sql: str
    rollback: str | None
    verify: str | None


def fixed(
    name: str,
    judged: tuple[Judged, ...],
    final: Catalog,
    *,
    rollback: str | None,
    verify: str | None,
    taken: frozenset[str],
) -> tuple[Trio, ...]:
    """Return what to write in the place of a migration; nothing where nothing can be mended.

    Args:
        name: of the migration: YYYYMMDD_HHMMSS_what.
        judged: its statements, in order.
        final: the catalog behind the last of the pending files.
        rollback: its script; None: it has none, and a part has one only where what undoes it is
            known.
        verify: its script, which goes to the last part.
        taken: the names of all other migrations.

    Raises:
        ConfigError: its statements cannot be taken apart, or there is no room between its timestamp
            and the next one.

    """
    parts = _parts(judged, final)
    if not parts:
        return ()
    file = judged[0].step.file
    _refuse(file)
    if rollback is not None:
        _require_known(file, parts)
    names = _names(name, parts, taken, file)
    return tuple(
        _trio(part, new, file, verify if number == len(parts) else None, (number, len(parts)))
        for number, (part, new) in enumerate(zip(parts, names, strict=True), 1)
    )


def _parts(judged: tuple[Judged, ...], final: Catalog) -> list[Script]:
    """Return the files: statements that stay as they are together, as far as none is in between."""
    parts: list[Script] = []
    block: list[Step] = []
    mended = False
    for step, remarks in judged:
        scripts = scripts_of(step, remarks, final)
        apart = any(remark.rule.apart for remark in remarks) and bool(block or parts)
        mended = mended or bool(scripts) or apart
        if (scripts or apart) and block:
            parts.append(_together(block))
            block = []
        if scripts:
            parts += scripts
        else:
            block.append(step)
    if not mended:
        return []
    return [*parts, _together(block)] if block else parts


def _together(block: list[Step]) -> Script:
    undone: tuple[str, ...] | None = ()
    for step in block:
        inverted = inverse.of(step.statement.kind, step.statement.node, step.before)
        undone = None if inverted is None or undone is None else (*inverted, *undone)
    return Script("", tuple(_with_directive(step) for step in block), undone)


def _with_directive(step: Step) -> str:
    """Return a statement as it stands, with the backfill directive above it."""
    statement = step.statement
    if statement.backfill is None:
        return statement.sql
    directive = step.file.text.split("\n")[statement.backfill.line - 1].strip()
    return f"{directive}\n{statement.sql}"


def _refuse(file: SqlFile) -> None:
    """Refuse a file whose directives are for statements that would not be together any more."""
    reasons = {
        "allows rules, and its allowances would not be above their statements": bool(file.allowed),
        "asks for a transaction of its own kind": bool(file.begin),
        "says that it is irreversible": bool(file.irreversible),
    }
    for reason, holds in reasons.items():
        if holds:
            raise _cannot(file, 1, reason)


def _require_known(file: SqlFile, parts: list[Script]) -> None:
    for part in parts:
        if part.rollback is None:
            what = " ".join(part.sql[0].split())[:60]
            raise _cannot(file, 1, f"has a rollback script, and what undoes “{what}” is not known")


def _cannot(file: SqlFile, line: int, why: str) -> ConfigError:
    return ConfigError(
        f"cannot be taken apart: it {why}",
        place=Place(str(file.path), line),
        next_step="split it by hand, as the SQL under the findings shows: invoke lint --env",
    )


def _names(name: str, parts: list[Script], taken: frozenset[str], file: SqlFile) -> list[str]:
    """Return a name for each part: the first keeps the migration's, the others follow by a second.

    Raises:
        ConfigError: another migration has one of these timestamps, or stands in between.

    """
    later = min((other[:STAMP] for other in taken if other[:STAMP] > name[:STAMP]), default="9")
    results = [name]
    for number, part in enumerate(parts[1:], 1):
        stamp = _later(name[:STAMP], number)
        if stamp is None or stamp >= later:
            raise _cannot(file, 1, f"needs {len(parts)} timestamps, and {later} is the next one's")
        about = re.sub(r"[^a-z0-9]+", "_", f"{name[STAMP + 1 :]}_{part.about or number}".lower())
        results.append(f"{stamp}_{about[:LONGEST].strip('_')}")
    return results


def _later(stamp: str, seconds: int) -> str | None:
    """Return a timestamp so many seconds later; None beyond the end of its day."""
    hours, minutes, second = (int(stamp[at : at + 2]) for at in (9, 11, 13))
    total = hours * 3600 + minutes * 60 + second + seconds
    if total >= 24 * 3600:
        return None
    return f"{stamp[:9]}{total // 3600:02}{total // 60 % 60:02}{total % 60:02}"


def _trio(
    part: Script, name: str, file: SqlFile, verify: str | None, place: tuple[int, int]
) -> Trio:
    directives = "".join(f"{line.strip()}\n" for line in DIRECTIVE.findall(file.text))
    head = f"-- Migration: {name}\n-- Description: part {place[0]} of {place[1]}\n{directives}"
    undone = None if part.rollback is None else part.rollback or ("SELECT 1",)
    verified = [f"{query};\n" for query in part.verify]
    if verify is not None:
        verified.insert(0, verify if verify.endswith("\n") else f"{verify}\n")
    return Trio(
        name=name,
        sql=f"{head}\n{_text(part.sql)}",
        rollback=None if undone is None else f"-- Rollback: {name}\n\n{_text(undone)}",
        verify=f"-- Verify: {name}\n\n{''.join(verified)}" if verified else None,
    )


def _text(statements: tuple[str, ...]) -> str:
    """Return statements, within BEGIN and COMMIT where they run as they stand there."""
    lines = "".join(f"{sql};\n\n" for sql in statements)
    batches = any(BACKFILL.match(sql) for sql in statements)
    if not batches and all(
        each.transactional for sql in statements for each in split(_NO_PATH, f"{sql};")
    ):
        return f"BEGIN;\n\n{lines}COMMIT;\n"
    return lines.rstrip("\n") + "\n"
