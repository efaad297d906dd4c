"""What each pg_dump of one backup dumps. Pure: sizes in, options out.

One dumps the definitions. The tables are shared out by size; whatever is in no share, such
as sequences, large objects and what an extension registered, falls to the last one, which dumps
"the rest" by exclusion.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..model import Holds
from .tables import DumpedTable

PARALLEL_ABOVE = 1 << 30  # bytes; below, starting several processes gains nothing worth having
MOST_JOBS = 4  # by default: each takes a CPU of the server's, which also serves
NAMED = 200  # tables at most that are shared out one by one; an argument list has its limits
SMALL = 0.002  # of the database; smaller tables stay in the rest
GROWTH = 1.25  # how much larger than its table a dump may be, at the worst
# Ours, and of the moment: restored, it would say that somebody holds the deployment lock.
LEASE = ("windlass", "lease")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One pg_dump: the name of its object, its options, and about how many bytes it reads."""

    name: str
    holds: Holds
    options: tuple[str, ...]
    size: int


def jobs_for(size: int, requested: int | None, cores: int) -> int:
    """Return how many pg_dumps of data run at once; 1: one of everything."""
    if requested is not None:
        return requested
    return max(1, min(cores, MOST_JOBS)) if size >= PARALLEL_ABOVE else 1


def shares(
    tables: tuple[DumpedTable, ...], sizes: Mapping[tuple[str, str], int], jobs: int
) -> tuple[Share, ...]:
    """Return the shares of a backup: one of everything, or definitions, tables and the rest."""
    total = sum(sizes.values())
    no_lease = tuple(_option("exclude-table-data", name) for name in sizes if name == LEASE)
    if jobs == 1:
        return (Share(name="dump", holds="all", options=no_lease, size=total),)
    bins: list[list[tuple[str, str]]] = [[] for _ in range(jobs)]
    named = _named(tables, sizes, total)
    loads = [total - sum(sizes[name] for name in named), *(0 for _ in range(jobs - 1))]
    for name in named:  # the largest first, each where the least is: within 4/3 of the best
        bin_number = min((*range(1, jobs), 0), key=loads.__getitem__)
        bins[bin_number].append(name)
        loads[bin_number] += sizes[name]
    excluded = tuple(
        _option("exclude-table-data", name) for tables_of_bin in bins[1:] for name in tables_of_bin
    )
    definitions = Share(
        name="schema",
        holds="schema",
        options=("--section=pre-data", "--section=post-data"),
        size=0,
    )
    rest = Share(
        name="rest",
        holds="data",
        options=("--section=data", *excluded, *no_lease),
        size=int(loads[0] * GROWTH),
    )
    data_shares = [
        Share(
            name=f"data-{number}",
            holds="data",
            options=("--section=data", *(_option("table", name) for name in names)),
            size=int(loads[number] * GROWTH),
        )
        for number, names in enumerate(bins)
        if number and names
    ]
    return (definitions, rest, *data_shares)


def _named(
    tables: tuple[DumpedTable, ...], sizes: Mapping[tuple[str, str], int], total: int
) -> list[tuple[str, str]]:
    plain = [
        (table.schema, table.name)
        for table in tables
        # What is dumped under another name, or only in part, is left to the rest.
        if table.alone and (table.schema, table.name) != LEASE
    ]
    large = [name for name in plain if sizes.get(name, 0) > total * SMALL]
    return sorted(large, key=lambda name: (-sizes[name], name))[:NAMED]


def _option(option: str, name: tuple[str, str]) -> str:
    """Return an option that names exactly this table: quoted, a pattern means itself."""
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in name)
    return f"--{option}={quoted}"
