"""What a copy is before and after a migration and its rollback: definitions, rows and values.

Definitions are what pg_dump says, but for the order of a table's columns, which no rollback can
give back.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from .. import process
from ..backup import toc
from ..database.connection import Database
from ..parser.equivalence import alike, meaning
from .clients import Clients

SHOWN = 3  # lines of a definition that differs
OTHER_LINES = "the same lines, in another order or number, or indented otherwise"
TITLE = re.compile(
    r"(?P<name>.*); Type: (?P<type>.*); Schema: (?P<schema>.*); Owner: .*", re.DOTALL
)
COLUMN = re.compile(r'(?:CONSTRAINT )?(?:"(?:[^"]|"")+"|\S+)')
# Ours are no part of what a migration changes.
NOT_OURS = (
    "--exclude-schema=windlass",
    "--exclude-table=public.schema_migrations*",
    "--exclude-table=*._prisma_migrations",
)
# The tables named, and those whose rows a foreign key changes or deletes along with theirs.
REACHED = """
with recursive named as (
    select c.oid from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = any (%(names)s) and c.relkind in ('r', 'p')
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'windlass')
), reached as (
    select oid from named
    union
    select f.conrelid from reached r join pg_catalog.pg_constraint f on f.confrelid = r.oid
    where f.contype = 'f' and (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd'))
)
select n.nspname, c.relname,
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by 1)
from reached r join pg_catalog.pg_class c on c.oid = r.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
order by 1, 2
"""

TableName = tuple[str, str]  # schema and table, not quoted


@dataclass(frozen=True, slots=True)
class Column:
    """How many values a column has, nulls aside, and a sum over a hash of each."""

    values: int
    hashed: int


@dataclass(frozen=True, slots=True)
class Table:
    """What a table holds."""

    rows: int
    columns: Mapping[str, Column]


Tables = Mapping[TableName, Table]


def definitions(copy: Database, clients: Clients, *more: str) -> dict[str, str]:
    """Return the definitions of a database by pg_dump's title of each, ours left out.

    `more` are further options of pg_dump's.
    """
    env = copy.environment()
    options = ("--schema-only", "--no-password", *NOT_OURS, *more)
    command = clients.command("pg_dump", *options, env=env)
    printed = b"".join(process.stream(command, env=env))
    return toc.blocks(printed.decode(errors="surrogateescape"))


def different(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return what differs between two sets of definitions, in words."""
    found = []
    for title in sorted(before.keys() | after.keys()):
        if title not in after:
            found.append(f"{_words(title)} is missing")
        elif title not in before:
            found.append(f"{_words(title)} was not there before")
        elif not alike(before[title], after[title], any_order=True):
            found.append(f"{_words(title)} differs: {_changed(before[title], after[title])}")
    return tuple(found)


def stands(
    before: Mapping[str, str], states: Sequence[Mapping[str, str]], live: Mapping[str, str]
) -> tuple[str, ...]:
    """Return, in words, how what a migration would make differs from what stands; empty: nowhere.

    Only what it changes is looked at. What later migrations make of it may stand as well.

    Args:
        before: the definitions without the migration.
        states: those with it, and those after each later one.
        live: those that stand.

    """
    after, found = states[0], []
    for title in sorted(before.keys() | after.keys()):
        was, would, stand = before.get(title), after.get(title), live.get(title)
        if was == would or any(_same(stand, state.get(title)) for state in states):
            continue
        if would is None:
            found.append(f"{_words(title)} is still there")
        elif stand is None:
            found.append(f"{_words(title)} is missing")
        elif "; Type: TABLE; " in title:
            later = [state.get(title, "") for state in states]
            found += [f"{_words(title)}: {one}" for one in _of_table(was, later, stand)]
        else:
            found.append(f"{_words(title)} differs: {_changed(would, stand)}")
    return tuple(found)


def _same(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one is other
    return alike(one, other, any_order=True)


def _of_table(was: str | None, states: Sequence[str], stand: str) -> Iterator[str]:
    """Say line by line what of a migration's change to a table stands otherwise."""
    before, after, lines = _lines(was or ""), _lines(states[0]), _lines(stand)
    wanted = {key: line for key, line in after.items() if key not in before | lines}
    extra = {key: line for key, line in lines.items() if key in before and key not in after}
    if was is None:
        known = {key for state in states for key in _lines(state)}
        extra = {key: line for key, line in lines.items() if key not in known}
    others = {_name(line): line for line in lines.values()}
    for line in wanted.values():
        other = others.get(_name(line))
        yield f"{other} stands, it would make {line}" if other else f"{line} is missing"
    told = {_name(line) for line in wanted.values()}
    for line in extra.values():
        if _name(line) not in told:
            yield f"{line} stands, which it would not make"


def _name(line: str) -> str:
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
    was, now = _lines(before), _lines(after)
    gone = [f"- {line}" for known, line in was.items() if known not in now]
    come = [f"+ {line}" for known, line in now.items() if known not in was]
    return "; ".join([*gone[:SHOWN], *come[:SHOWN]]) or OTHER_LINES


def _lines(block: str) -> dict[Hashable, str]:
    """Return the lines of a definition by what they mean as columns or constraints of a table."""
    lines = (line.strip().rstrip(",") for line in block.splitlines())
    return {meaning(f"CREATE TABLE t ({line})"): line for line in sorted(lines) if line}


def read_tables(copy: Database, names: Iterable[str]) -> dict[TableName, Table]:
    """Return what the tables of these names hold, whatever their schema; each is read once."""
    with copy.connect("rehearse") as connection:
        found = connection.execute(REACHED.encode(), {"names": list(names)}).fetchall()
        return {
            (schema, name): _read(connection, schema, name, cols) for schema, name, cols in found
        }


def _read(connection: psycopg.Connection, schema: str, name: str, columns: list[str]) -> Table:
    each = [
        sql.SQL("count({0}), coalesce(sum(pg_catalog.hashtextextended({0}::text, 0)), 0)").format(
            sql.Identifier(column)
        )
        for column in columns
    ]
    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join([sql.SQL("count(*)"), *each]), sql.Identifier(schema, name)
    )
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  # an aggregate has one row
    values = [int(value) for value in row]
    return Table(
        rows=values[0],
        columns={
            column: Column(values[1 + 2 * at], values[2 + 2 * at])
            for at, column in enumerate(columns)
        },
    )


def lost(before: Tables, after: Tables) -> tuple[str, ...]:
    """Return what stood before and does not stand after: tables, rows, columns, values."""
    found: list[str] = []
    for name, table in before.items():
        now, shown = after.get(name), ".".join(name)
        if now is None:
            found.append(f"{shown} with {table.rows:,} rows")
            continue
        if now.rows != table.rows:
            fewer = table.rows - now.rows
            found.append(f"{shown}: {abs(fewer):,} rows {'fewer' if fewer > 0 else 'more'}")
        for column, values in table.columns.items():
            words = _lost_values(values, now.columns.get(column), same_rows=now.rows == table.rows)
            found += [f"{shown}.{column} {words}"] if words else []
    return tuple(found)


def _lost_values(before: Column, after: Column | None, *, same_rows: bool) -> str:
    """Say what became of a column's values; empty where they are the same, or went with rows."""
    if after is None:
        return f"with {before.values:,} values" if before.values else ""
    if not same_rows or before == after:
        return ""
    if after.values < before.values:
        return f"without {before.values - after.values:,} of its {before.values:,} values"
    return "with other values"


def dropped(standing: Tables, after: Tables) -> tuple[str, ...]:
    """Return what a rollback takes away with values in it: tables and columns.

    A column whose values stand under a name that was not there was renamed, not taken away.
    """
    found = []
    for name, table in standing.items():
        now, shown = after.get(name), ".".join(name)
        if now is None:
            found += [f"{shown} with {table.rows:,} rows"] if table.rows else []
            continue
        renamed = [now.columns[name] for name in now.columns if name not in table.columns]
        found += [
            f"{shown}.{column} with {values.values:,} values"
            for column, values in table.columns.items()
            if column not in now.columns and values.values and values not in renamed
        ]
    return tuple(found)
