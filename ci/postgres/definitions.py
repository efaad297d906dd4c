"""What a copy is before and after a migration and its rollback: definitions, rows and values.

Definitions are what pg_dump says, but for the order of a table's columns, which no rollback can
give back.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

from .. import process
from ..database.children import child_name, judged
from ..database.connection import Database
from ..database.history_table import HistoryTable
from ..parser.equivalence import equivalent, meaning
from .clients import Clients

SHOWN = 3  # lines of a definition that differs
OTHER_LINES = "the same lines, in another order or number, or indented otherwise"
TITLE = re.compile(
    r"(?P<name>.*); Type: (?P<type>.*); Schema: (?P<schema>.*); Owner: .*", re.DOTALL
)
COLUMN = re.compile(r'(?:CONSTRAINT )?(?:"(?:[^"]|"")+"|\S+)')


def not_ours(history: Iterable[HistoryTable]) -> tuple[str, ...]:
    """Return the options of pg_dump that leave out what no migration changes: the records."""
    tables = (f"--exclude-table={table.pattern}" for table in history)
    return ("--exclude-schema=windlass", *tables)


def definitions(
    copy: Database, clients: Clients, history: Iterable[HistoryTable], *more: str
) -> dict[str, str]:
    """Return the definitions of a database by pg_dump's title of each, the records left out.

    `history` are the tables of the engine's own; `more` are further options of pg_dump's.
    """
    name = child_name(copy, "definitions")
    env = copy.environment(streaming=True) | {"PGAPPNAME": name}
    options = ("--schema-only", "--no-password", *not_ours(history), *more)
    command = clients.command("pg_dump", *options, env=env)
    script = process.stream(command, purpose=clients.purpose, env=env, judge=judged(copy, name))
    printed = b"".join(script)
    return blocks(printed.decode(errors="surrogateescape"))


def different(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return what differs between two sets of definitions, in words."""
    differences = []
    for title in sorted(before.keys() | after.keys()):
        if title not in after:
            differences.append(f"{_words(title)} is missing")
        elif title not in before:
            differences.append(f"{_words(title)} was not there before")
        elif not equivalent(before[title], after[title], any_order=True):
            differences.append(f"{_words(title)} differs: {_changed(before[title], after[title])}")
    return tuple(differences)


def differences_from_live(
    before: Mapping[str, str], states: Sequence[Mapping[str, str]], live: Mapping[str, str]
) -> tuple[str, ...]:
    """Return, in words, how a migration's definitions differ from the live ones; empty: nowhere.

    Only what it changes is compared. What later migrations turn it into may be live as well.

    Args:
        before: the definitions without the migration.
        states: those with it, and those after each later one.
        live: those of the live database.

    """
    after, differences = states[0], []
    for title in sorted(before.keys() | after.keys()):
        old, new, live_text = before.get(title), after.get(title), live.get(title)
        if old == new or any(_same(live_text, state.get(title)) for state in states):
            continue
        if new is None:
            differences.append(f"{_words(title)} is still there")
        elif live_text is None:
            differences.append(f"{_words(title)} is missing")
        elif "; Type: TABLE; " in title:
            later = [state.get(title, "") for state in states]
            differences += [
                f"{_words(title)}: {difference}" for difference in _of_table(old, later, live_text)
            ]
        else:
            differences.append(f"{_words(title)} differs: {_changed(new, live_text)}")
    return tuple(differences)


def _same(text: str | None, other: str | None) -> bool:
    if text is None or other is None:
        return text is other
    return equivalent(text, other, any_order=True)


def _of_table(old: str | None, states: Sequence[str], live_text: str) -> Iterator[str]:
    """Say line by line where a live table differs from a migration's change."""
    before, after, lines = _lines(old or ""), _lines(states[0]), _lines(live_text)
    wanted = {key: line for key, line in after.items() if key not in before | lines}
    extra = {key: line for key, line in lines.items() if key in before and key not in after}
    if old is None:
        known = {key for state in states for key in _lines(state)}
        extra = {key: line for key, line in lines.items() if key not in known}
    others = {_defined_name(line): line for line in lines.values()}
    for line in wanted.values():
        other = others.get(_defined_name(line))
        yield f"{other} exists; the migration creates {line}" if other else f"{line} is missing"
    names = {_defined_name(line) for line in wanted.values()}
    for line in extra.values():
        if _defined_name(line) not in names:
            yield f"{line} exists; the migration does not create it"


def _defined_name(line: str) -> str:
    """Return what a line of a table defines: its column, or its constraint."""
    match = COLUMN.match(line)
    return match[0] if match else line


def _words(title: str) -> str:
    match = TITLE.fullmatch(title)
    if match is None:
        return title
    schema = "" if match["schema"] == "-" else f"{match['schema']}."
    return f"{match['type'].lower()} {schema}{match['name'].replace(' ', '.')}"


def _changed(before: str, after: str) -> str:
    old_lines, new_lines = _lines(before), _lines(after)
    removed = [f"- {line}" for known, line in old_lines.items() if known not in new_lines]
    added = [f"+ {line}" for known, line in new_lines.items() if known not in old_lines]
    return "; ".join([*removed[:SHOWN], *added[:SHOWN]]) or OTHER_LINES


def _lines(block: str) -> dict[Hashable, str]:
    """Return the lines of a definition by what they mean as columns or constraints of a table."""
    lines = (line.strip().rstrip(",") for line in block.splitlines())
    return {meaning(f"CREATE TABLE t ({line})"): line for line in sorted(lines) if line}


SCRIPT_END = "\n--\n-- PostgreSQL database dump complete"
REFRESH = "; Type: MATERIALIZED VIEW DATA; "  # of rows, though pg_restore prints it among the rest


def archive_definitions(clients: Clients, source: Iterable[bytes]) -> dict[str, str]:
    """Return an archive's definitions by title, as pg_restore prints them; rows are not read."""
    command = clients.command("pg_restore", "--schema-only", "--file=-")
    printed = b"".join(process.pipe(command, source, purpose=clients.offline)).decode(
        errors="surrogateescape"
    )
    return blocks(printed)


def blocks(script: str) -> dict[str, str]:
    """Return the definitions in a script of pg_restore's by the title it gives each."""
    bodies: dict[str, str] = {}
    for block in script.partition(SCRIPT_END)[0].split("\n--\n-- Name: ")[1:]:
        title, _, body = block.partition("\n")
        if REFRESH not in title:
            # The settings are before the definition they are for, and after another.
            lines = [line for line in body.splitlines() if not line.startswith("SET default_")]
            # Two of one title, such as the grants to two roles: both count.
            bodies[title] = bodies.get(title, "") + "\n".join(lines).strip("\n-")
    return bodies
