"""What a throwaway server must be started with for the extensions and tables of a copy. Pure.

A source's own shared_preload_libraries is for superusers to read; its extensions tell as much.
"""

import math
from collections.abc import Iterable

# Extensions that PostgreSQL creates only where their library is preloaded, by the library's name.
LIBRARIES = {
    "citus": "citus",
    "pgaudit": "pgaudit",
    "timescaledb": "timescaledb",
}
ONE_DATABASE = frozenset({"pg_cron"})  # bound to the name of one database of the server
FIRST = ("citus",)  # that must stand before all others
CONNECTIONS = 100  # PostgreSQL's max_connections, which a throwaway server keeps
LOCKS = 40  # of a table with its indexes, TOAST and sequences
LEAST = 64  # PostgreSQL's max_locks_per_transaction


def libraries(extensions: Iterable[str]) -> tuple[str, ...]:
    """Return the libraries to preload for these extensions, in order."""
    names = {LIBRARIES[name] for name in extensions if name in LIBRARIES}
    return tuple(sorted(names, key=lambda name: (name not in FIRST, name)))


def settings(extensions: Iterable[str], tables: int) -> tuple[str, ...]:
    """Return the settings of a server for a copy with so many tables, as "name=value"."""
    locks = max(LEAST, math.ceil(tables * LOCKS / CONNECTIONS))
    preloaded = ",".join(libraries(extensions))
    return (
        f"max_locks_per_transaction={locks}",
        *((f"shared_preload_libraries={preloaded}",) if preloaded else ()),
    )


def why_not(extensions: Iterable[str]) -> str:
    """Return why no server that is started here can hold these extensions; empty where one can."""
    bound = sorted(ONE_DATABASE.intersection(extensions))
    if not bound:
        return ""
    return (
        f"{', '.join(bound)} works in one database of a server, by its name, and a copy has another"
    )
