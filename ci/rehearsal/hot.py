"""Tables of `hot_tables`: which of their locks a migration's text does not speak of. Pure."""

from collections.abc import Iterable, Mapping

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
) -> BlockingLock | None:
    """Return the longest lock of a hot table that the text does not speak of; None: there is none.

    Also that of a table which a foreign key refers to, and of rows.
    """
    given = tuple(reasons)
    hot = {full_name(table.table) for table in tables}
    return next(
        (
            lock
            for lock in blocking_locks(migration)
            if lock.relation in hot and not acknowledged(lock.relation, given)
        ),
        None,
    )


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
