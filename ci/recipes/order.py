"""What a person asks of a recipe. Pure."""

from dataclasses import dataclass

from ..errors import ConfigError
from ..lint.quoting import shown_key
from .shape import Column, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The options of one call; an empty text: it was not given.

    to: the new column's name, or the new table's.
    type: of the new column, as SQL.
    value: an expression: what rows get that have none.
    using, back: what makes the new value of the old one, and the old one of the new.
    references: TABLE or TABLE(COLUMN).
    """

    recipe: str
    table: str
    column: str = ""
    to: str = ""
    type: str = ""
    value: str = ""
    using: str = ""
    back: str = ""
    references: str = ""

    def require(self, name: str, example: str) -> str:
        """Return an option's value.

        Raises:
            ConfigError: it was not given.

        """
        value = str(getattr(self, name))
        if not value:
            raise ConfigError(
                f"--recipe {self.recipe} needs --{name}", next_step=f"such as --{name} {example}"
            )
        return value

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, of which split-table takes several: --column a,b."""
        return tuple(part.strip() for part in self.column.split(",") if part.strip())

    def require_shape(self, shape: Shape) -> None:
        """Refuse a table whose rows are in other tables too.

        Raises:
            ConfigError: it is partitioned, or inherits.

        """
        if shape.kind != "r" or shape.inherits:
            kind = "is partitioned" if shape.kind == "p" else "has parent or child tables"
            raise self.cannot(f"{shown_key(shape.key)} {kind}: a recipe is for one table alone")

    def column_of(self, shape: Shape, name: str) -> Column:
        """Return a column of the table.

        Raises:
            ConfigError: there is none of that name.

        """
        if name not in shape.columns:
            raise self.cannot(
                f"{shown_key(shape.key)} has no column {name}; it has {', '.join(shape.columns)}"
            )
        return shape.columns[name]

    def require_new(self, shape: Shape, name: str) -> None:
        """Refuse a name that a column has.

        Raises:
            ConfigError: one has it.

        """
        if name in shape.columns:
            raise self.cannot(f"{shown_key(shape.key)} has a column {name} already")

    def require_free(self, shape: Shape, *names: str) -> None:
        """Refuse a name that something in the schema has.

        Raises:
            ConfigError: something has it.

        """
        for name in names:
            if name in shape.taken:
                raise self.cannot(f"{shown_key((shape.key[0], name))} exists already")

    def cannot(self, why: str) -> ConfigError:
        """Return the error of what a recipe cannot do."""
        return ConfigError(
            f"--recipe {self.recipe}: {why}",
            next_step="change the option; or write the migration by hand: invoke create --name",
        )
