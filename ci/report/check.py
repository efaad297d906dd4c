"""What a check found, as text and as a comment on a pull request. Pure."""

from collections.abc import Iterable, Iterator

from ..model import Checked, PullRequestCheck
from .format import duration

LIMIT = 60_000  # characters; GitHub refuses a comment of more than 65,536
SHOWN = 30  # problems, findings and migrations; the log has all
LONGEST = 500  # characters of each
UP_DOWN_UP = "up, down, up"


def check_text(check: PullRequestCheck) -> str:
    """Return what `check` shows."""
    lines = [
        *_order(check),
        *(f"{_full_name(migration)}  {_outcome(migration)}" for migration in check.migrations),
    ]
    return "\n".join([*lines, *(str(finding) for finding in check.findings), verdict(check)])


def verdict(check: PullRequestCheck) -> str:
    """Return the last line: how many migrations, on what, and whether they may be merged."""
    where = f"{check.base} ({check.commit[:12]}) with its {check.applied} migrations"
    if not check.migrations and check.passed:
        return f"no new migration beside {where}"
    word = "passed" if check.passed else "FAILED"
    return f"{word}: {len(check.migrations)} new on {where}, on {check.server}"


def check_markdown(check: PullRequestCheck) -> str:
    """Return the comment: the verdict, the problems, a table, findings, and the SQL that fits."""
    mark = "✅" if check.passed else "❌"
    parts = [f"### {mark} Migrations", verdict(check)]
    if check.problems:
        parts.append("\n".join(_list(f"❌ {problem}" for problem in check.problems)))
    if check.migrations:
        parts.append("\n".join(_table_lines(check)))
    if check.findings:
        parts.append("\n".join(_list(str(finding) for finding in check.findings)))
    text = "\n\n".join(parts) + "\n"
    return text + _sql(check, LIMIT - len(text))


def _order(check: PullRequestCheck) -> Iterator[str]:
    for problem in check.problems:
        yield f"order: {problem}"


def _list(texts: Iterable[str]) -> Iterator[str]:
    all_ = tuple(texts)
    yield from (f"- {_cell(text)}" for text in all_[:SHOWN])
    yield from _more(len(all_))


def _table_lines(check: PullRequestCheck) -> Iterator[str]:
    yield "| migration | runs | result | time |"
    yield "| --- | --- | --- | --- |"
    for migration in check.migrations[:SHOWN]:
        how = "in a transaction" if migration.transactional else "statement by statement"
        name, when = _cell(_full_name(migration)), f"{migration.phase} the restart, {how}"
        mark = "❌" if migration.problem else "⚠️" if migration.untried else "✅"
        outcome = f"{mark} {_cell(_outcome(migration))}"
        yield f"| `{name}` | {when} | {outcome} | {duration(migration.seconds)} |"
    yield from _more(len(check.migrations))


def _more(count: int) -> Iterator[str]:
    if count > SHOWN:
        yield f"\n… and {count - SHOWN} more; the job's log has all"


def _sql(check: PullRequestCheck, room: int) -> str:
    """Return the SQL of the migrations, folded, as far as it fits; says what was left out."""
    text, omitted = "", 0
    for migration in check.migrations:
        fence = "~~~~~~"
        block = (
            f"\n<details><summary>SQL of {_cell(_full_name(migration))}</summary>\n\n"
            f"{fence}sql\n{migration.sql.replace(fence, '~')}\n{fence}\n</details>\n"
        )
        if len(text) + len(block) + 100 > room:
            omitted += 1
        else:
            text += block
    return text + (
        f"\nThe SQL of {omitted} migrations is too long for a comment.\n" if omitted else ""
    )


def _full_name(migration: Checked) -> str:
    return f"{migration.name} {migration.title}".strip()


def _outcome(migration: Checked) -> str:
    if migration.problem:
        return migration.problem
    if migration.untried:
        return f"could not be tried: {migration.untried}"
    if migration.irreversible:
        return f"up; irreversible: {migration.irreversible}"
    return (
        UP_DOWN_UP
        if migration.rollback
        else "up; no rollback script, which UAT and production ask for"
    )


def _cell(text: str) -> str:
    """Return text that stays within its cell, its line and its words."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(escaped.split())[:LONGEST]
