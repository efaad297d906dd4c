"""How busy the live tables are: two readings of the server's counters, and what lies between. Pure.

The rate between the readings is of now. Where they are too near to each other, the average since
the counters began is taken, and is called inferred.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..errors import ConfigError
from ..model import TableActivity
from ..parser import tree
from ..parser.split import split

LONG_ENOUGH = 20.0  # seconds between two readings: thirty calls a minute are ten by then
Name = tuple[str, str]  # a table's schema, empty where a statement names none, and its name
PART = re.compile(r'"(?:[^"]|"")*"|[^."]+')
HIDDEN = "<insufficient privilege>"  # what pg_stat_statements says to who may not read a text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The live server's counters at one moment; all of them since they began.

    tables: by "schema.name", scans and rows changed; of a partitioned table, of all its partitions.
    roots: the partitioned table that a partition is of.
    statements: by text, how often each was called; None: pg_stat_statements does not say.
    tables_since, statements_since: when they began; None: not known.
    unseen: what could not be read, in words; empty: nothing.
    """

    at: datetime
    tables: Mapping[str, int] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    statements: Mapping[str, int] | None = None
    tables_since: datetime | None = None
    statements_since: datetime | None = None
    unseen: str = ""


def activity(
    first: Reading, second: Reading, relations: Iterable[str]
) -> tuple[TableActivity, ...]:
    """Return how busy these tables are, by name; those that the server does not count are left out.

    Args:
        first: before the rehearsal.
        second: behind it.
        relations: "schema.name", as SQL has them.

    """
    seconds = (second.at - first.at).total_seconds()
    measured = seconds >= LONG_ENOUGH
    since = second.tables_since
    whole = seconds if measured else _seconds(since, second.at)
    calls = _calls(first, second, measured=measured)
    bare = {name: rate for (schema, name), rate in (calls or {}).items() if not schema}
    namesakes = Counter(_parts(name)[1] for name in second.tables)
    rates = []
    for relation in sorted(set(relations)):
        if relation not in second.tables or whole <= 0:
            continue
        before = first.tables.get(relation, 0) if measured else 0
        names = {_parts(name) for name in (relation, second.roots.get(relation, relation))}
        shared = any(namesakes[name] > 1 and bare.get(name) for _, name in names)
        rates.append(
            TableActivity(
                relation=relation,
                traffic=_per_minute(second.tables[relation] - before, whole),
                calls=None if calls is None else _calls_of(names, calls),
                measured=measured,
                shared=shared,
            )
        )
    return tuple(rates)


def _calls_of(names: set[Name], calls: Mapping[Name, float]) -> float:
    """Return the calls of statements that name one of these, with its schema or without one."""
    keys = {*names, *(("", name) for _, name in names)}
    return sum(calls.get(key, 0.0) for key in keys)


def _calls(first: Reading, second: Reading, *, measured: bool) -> dict[Name, float] | None:
    """Return the calls a minute of the statements on each table, as they name it."""
    if second.statements is None:
        return None
    since = first.at if measured and first.statements is not None else second.statements_since
    seconds = _seconds(since, second.at)
    if seconds <= 0:
        return None
    before = (first.statements or {}) if measured else {}
    calls: dict[Name, float] = {}
    for text, count in second.statements.items():
        grown = count - before.get(text, 0)
        if grown <= 0:
            continue
        for table in tables_of(text):
            calls[table] = calls.get(table, 0.0) + _per_minute(grown, seconds)
    return calls


def hidden_calls(reading: Reading) -> int:
    """Return the calls of statements whose text our role may not read."""
    return (reading.statements or {}).get(HIDDEN, 0)


def tables_of(text: str) -> frozenset[Name]:
    """Return the tables that a statement names; none where it is no SQL here."""
    try:
        statements = split(Path("statement"), text)
    except ConfigError:
        return frozenset()
    return frozenset().union(*(tree.relations(s.node) for s in statements))


def _parts(relation: str) -> Name:
    """Return the schema and the name of a relation as SQL has it, without their quotes."""
    schema, name = PART.findall(relation)
    return _unquoted(schema), _unquoted(name)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _seconds(since: datetime | None, until: datetime) -> float:
    return (until - since).total_seconds() if since is not None else 0.0


def _per_minute(count: int, seconds: float) -> float:
    return round(max(0, count) * 60 / seconds, 1)
