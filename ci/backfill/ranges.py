"""The next range of a key, as a query. Pure."""

from ..parser.backfill import Split
from ..parser.ranges import KeyColumn, condition, quoted


def next_range(name: str, split: Split, key: tuple[KeyColumn, ...], *, lower: bool) -> str:
    """Return the query for the last key of the next batch, and how many rows it has.

    Its parameters are those of `condition`, and behind them how many rows are wanted. It returns
    one row, or none where the range is empty.

    Args:
        name: the table, schema.name in quotes.
        split: how the statement has the table.
        key: the columns.
        lower: whether a key was visited already, the parameters $1….

    """
    columns = [f"{quoted(split.alias)}.{quoted(column.name)}" for column in key]
    order = ", ".join(columns)
    texts = ", ".join(
        f"{column}::pg_catalog.text as k{number}" for number, column in enumerate(columns)
    )
    limit = len(key) * (2 if lower else 1) + 1
    only = "only " if split.only else ""
    parts = (
        f"select {texts}, pg_catalog.row_number() over (order by {order}) as n",
        f"from {only}{name} {quoted(split.alias)}",
        f"where {condition(split, key, lower=lower)} order by {order}",
        f"limit ${limit}::pg_catalog.text::pg_catalog.int8",
    )
    keys = ", ".join(f"b.k{number}" for number in range(len(key)))
    return " ".join((f"select {keys}, b.n from (", *parts, ") b order by b.n desc limit 1"))  # noqa: S608
