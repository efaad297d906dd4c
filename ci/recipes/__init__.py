"""`create --recipe`: the migrations of a change that old and new code survive together.

A recipe is made from the table as the database has it. Each is one module, and one `case` here.
"""

from datetime import datetime, timedelta

from ..errors import ConfigError
from ..lint.fix import STAMP, Trio
from . import add_foreign_key, add_not_null_column, drop_column, split_table, twin
from .order import Order
from .shape import Shape
from .stage import Stage

FORMAT = "%Y%m%d_%H%M%S"
RECIPES = (
    "add-not-null-column",
    "change-type",
    "rename-column",
    "drop-column",
    "add-foreign-key",
    "split-table",
)


def stages(recipe: str, order: Order, shape: Shape) -> tuple[Stage, ...]:
    """Return what a recipe writes, in running order. Pure.

    Args:
        recipe: one of `RECIPES`.
        order: what was asked for.
        shape: the table as the database has it.

    Raises:
        ConfigError: there is no such recipe, it lacks an option, or what the table has cannot be
            carried over; names what is in the way.

    """
    order.require_shape(shape)
    match recipe:
        case "add-not-null-column":
            return add_not_null_column.stages(order, shape)
        case "change-type":
            return twin.changed_type(order, shape)
        case "rename-column":
            return twin.renamed(order, shape)
        case "drop-column":
            return drop_column.stages(order, shape)
        case "add-foreign-key":
            return add_foreign_key.stages(order, shape)
        case "split-table":
            return split_table.stages(order, shape)
        case _:
            raise ConfigError(
                f"--recipe {recipe}: expected one of {', '.join(RECIPES)}",
                next_step="invoke create --recipe rename-column --table users --column mail "
                "--to email --env dev",
            )


def first_stamp(newest: str, now: datetime) -> datetime:
    """Return when the first migration is from: now, and behind the newest one on disk."""
    try:
        last = datetime.strptime(newest[:STAMP], FORMAT).replace(tzinfo=now.tzinfo)
    except ValueError:  # its name has another form
        return now
    return max(now, last + timedelta(seconds=1))


def trios(stages: tuple[Stage, ...], begin: datetime) -> tuple[Trio, ...]:
    """Return the files of the stages: one a second, so that their names have their order."""
    made = []
    for number, stage in enumerate(stages):
        name = f"{begin + timedelta(seconds=number):{FORMAT}}_{stage.name}"
        made.append(Trio(name, *stage.files(name)))
    return tuple(made)
