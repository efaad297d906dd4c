"""How busy the live tables are: two readings of the server's counters, and what lies between. Pure.

The rate between the readings is of now. Where they are too near to each other, the average since
the counters began is taken, and is called inferred.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..errors import ConfigError
from ..model import TableActivity
from ..parser import tree
from ..parser.split import split

LONG_ENOUGH = 20.0  # seconds between two readings: thirty calls a minute are ten by then
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
    rates = []
    for relation in sorted(set(relations)):
        if relation not in second.tables or whole <= 0:
            continue
        before = first.tables.get(relation, 0) if measured else 0
        names = {relation, second.roots.get(relation, relation)}
        rates.append(
            TableActivity(
                relation=relation,
                traffic=_per_minute(second.tables[relation] - before, whole),
                calls=None if calls is None else sum(calls.get(_bare(n), 0.0) for n in names),
                measured=measured,
            )
        )
    return tuple(rates)


def _calls(first: Reading, second: Reading, *, measured: bool) -> dict[str, float] | None:
    """Return the calls a minute of the statements on each table, by its name without a schema."""
    if second.statements is None:
        return None
    since = first.at if measured and first.statements is not None else second.statements_since
    seconds = _seconds(since, second.at)
    if seconds <= 0:
        return None
    before = (first.statements or {}) if measured else {}
    calls: dict[str, float] = {}
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


def tables_of(text: str) -> frozenset[str]:
    """Return the tables that a statement names, without schemas; none where it is no SQL here."""
    try:
        statements = split(Path("statement"), text)
    except ConfigError:
        return frozenset()
    return frozenset().union(*(tree.tables(s.kind, s.node) for s in statements))


def _bare(relation: str) -> str:
    """Return a name without its schema and its quotes."""
    name = relation.rpartition(".")[2]
    return name.strip('"').replace('""', '"')


def _seconds(since: datetime | None, until: datetime) -> float:
    return (until - since).total_seconds() if since is not None else 0.0


def _per_minute(count: int, seconds: float) -> float:
    return round(max(0, count) * 60 / seconds, 1)
