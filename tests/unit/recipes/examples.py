"""A table that recipes are written for."""

from pgwindlass.recipes.order import Order
from pgwindlass.recipes.shape import Column, Constraint, Index, Shape
from pgwindlass.recipes.stage import Stage

ORDERS = Shape(
    key=("public", "orders"),
    columns={
        "id": Column(type="integer", not_null=True),
        "amount": Column(type="integer", not_null=True, default="0"),
        "note": Column(type="text", collation='pg_catalog."C"'),
        "state": Column(type="text", not_null=True),
        "kind": Column(type="text", not_null=True),
        "seen": Column(type="text", uses=("rule _RETURN on view v",)),
        "counted": Column(type="integer", sequence="orders_counted_seq"),
        "made": Column(type="integer", generated=True),
        "owner": Column(type="integer", identity=True),
    },
    indexes={
        "orders_amount_idx": Index(
            definition="CREATE INDEX orders_amount_idx ON public.orders USING btree (amount) "
            "WHERE (amount > 3)",
            columns=("amount",),
            leads="amount",
        )
    },
    constraints={
        "orders_pkey": Constraint(kind="p", definition="PRIMARY KEY (id)", columns=("id",)),
        "orders_amount_check": Constraint(
            kind="c", definition="CHECK ((amount > 0))", columns=("amount",)
        ),
        "orders_note_key": Constraint(
            kind="u",
            definition="UNIQUE NULLS NOT DISTINCT (note) INCLUDE (id) DEFERRABLE",
            columns=("note",),
        ),
        "orders_note_ref": Constraint(
            kind="f",
            definition="FOREIGN KEY (note) REFERENCES notes(id) NOT VALID",
            columns=("note",),
            validated=False,
        ),
    },
    referring={"state": ("lines.lines_state_fkey",)},
    taken=frozenset({"orders", "orders_total_fill"}),
)


def order(recipe: str, **options: str) -> Order:
    """Return what is asked for the table."""
    return Order(recipe=recipe, table="orders", **options)


def told(stages: tuple[Stage, ...]) -> list[tuple[object, ...]]:
    """Return what each stage does."""
    return [(s.name, s.why, s.sql, s.rollback, s.verify, s.phase) for s in stages]
