"""Tables of `hot_tables`: which of their locks a migration's text does not speak of. Pure."""

from collections.abc import Container, Iterable, Mapping

from ..config.sections import HotTable
from ..model import Rehearsed
from .forecast import BlockingLock, blocking_locks


def full_name(table: str) -> str:
    """Return "schema.name" of a table as people write it; without a schema it is in public."""
    return table if "." in table else f"public.{table}"


def budgets(tables: Iterable[HotTable]) -> Mapping[str, float]:
    """Return for how many seconds each table may be held up, over all tries."""
    return {full_name(hot.table): hot.waits.seconds for hot in tables}


def acknowledged(table: str, reasons: Iterable[str]) -> bool:
    """Tell whether one of the reasons, `orders nobody orders at night`, is of this table."""
    words = (reason.split(maxsplit=1) for reason in reasons)
    return any(
        len(parts) > 1 and full_name(parts[0].rstrip(":,")) == full_name(table) for parts in words
    )


def unspoken(
    migration: Rehearsed, tables: Iterable[HotTable], reasons: Iterable[str]
) -> tuple[BlockingLock, str] | None:
    """Return the longest lock of a hot table that the text does not speak of, and that table.

    Also that of a table which a foreign key refers to, of rows, and of one partition. None: there
    is no such lock.
    """
    given = tuple(reasons)
    hot = {full_name(table.table) for table in tables}
    for lock in blocking_locks(migration):
        table = _hot_one(lock, hot)
        if table and not acknowledged(table, given):
            return lock, table
    return None


def _hot_one(lock: BlockingLock, hot: Container[str]) -> str:
    """Return the hot table of a lock: its own, or that of a partition; empty: it has none."""
    roots = dict(lock.statement.roots)
    names = (lock.relation, roots.get(lock.relation, ""))
    return next((name for name in names if name in hot), "")


def unspoken_name(names: Iterable[str], tables: Iterable[HotTable], reasons: Iterable[str]) -> str:
    """Return a hot table that the text names, by `names` without schemas, and does not speak of.

    Empty: there is none. For where no rehearsal shows what it locks.
    """
    given, named = tuple(reasons), frozenset(names)
    return next(
        (
            full_name(hot.table)
            for hot in tables
            if full_name(hot.table).rpartition(".")[2] in named
            and not acknowledged(hot.table, given)
        ),
        "",
    )
