"""What a rollback of a set of migrations would lose of what stood before them. Pure.

A rehearsal shows it. Without one it is read from the texts, and from the rows that the backup
from before has of each table. What a migration added itself is not of before: it may go.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..model import Loss, Migration, Rehearsed
from ..parser.effects import Effect

SHOWN = 3  # losses in one sentence
TEXT = frozenset({"text", "varchar"})
# Types whose every value the second holds as it is.
WIDER = frozenset(
    {
        ("int2", "int4"),
        ("int2", "int8"),
        ("int4", "int8"),
        ("int2", "numeric"),
        ("int4", "numeric"),
        ("int8", "numeric"),
        ("float4", "float8"),
    }
)
HIDDEN = "what its text does not show"

Own = frozenset[tuple[str, str]]  # of `Part.key`: what a set of migrations adds


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """One migration that a rollback would undo, and what is known of it.

    up, down: what its scripts do, by their texts.
    rehearsed: what its plan's rehearsal saw; None: there was none.
    rows: of each table, "schema.name", in the backup from before it; None: there is no backup.
    rows_rehearsed: the same of the backup that the rehearsal's copy was made of.
    backup: the id of that one; empty: there is none.
    """

    migration: Migration
    up: tuple[Effect, ...] = ()
    down: tuple[Effect, ...] = ()
    rehearsed: Rehearsed | None = None
    rows: Mapping[str, int] | None = None
    rows_rehearsed: Mapping[str, int] | None = None
    backup: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A column, or without one a whole table, as a text names it."""

    table: str
    column: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Its name without a schema: two texts may name it in different ways."""
        return self.table.rpartition(".")[2], self.column


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """What the rollback of a set does to what is in the tables.

    irreversible: (name, reason) of those that say that nothing undoes them.
    losses: of what stood before the set, with those that are not known to be none.
    goes: what the set added itself, and takes away again with whatever is in it by now.
    """

    irreversible: tuple[tuple[str, str], ...] = ()
    losses: tuple[Loss, ...] = ()
    goes: tuple[Part, ...] = ()

    @property
    def known(self) -> tuple[Loss, ...]:
        """What is certainly lost."""
        return tuple(loss for loss in self.losses if loss.known)

    def stops(self, on_failure: str) -> bool:
        """Tell whether an automatic rollback stops before it undoes anything."""
        if self.irreversible:
            return True
        return bool(self.losses) and on_failure != "rollback-even-if-lossy"


def undoing(undone: Sequence[Undone]) -> Undoing:
    """Return what it would lose to undo these, the set of one rollback, in running order."""
    names = {item.migration.name for item in undone}
    own = _own(undone)
    losses, goes = list[Loss](), dict[tuple[str, str], Part]()
    declared = [item.migration for item in undone if item.migration.irreversible]
    for at, item in enumerate(undone):
        if item.migration not in declared:
            goes |= {part.key: part for part in _dropped(item.down) if _is_own(part, own)}
            losses += _of_one(item, (_own(undone[:at]), own), names)
    return Undoing(
        irreversible=tuple((migration.name, migration.irreversible) for migration in declared),
        losses=tuple(dict.fromkeys(losses)),
        goes=tuple(goes.values()),
    )


def _own(undone: Iterable[Undone]) -> Own:
    """Return what the set adds: tables, and columns of tables that stay."""
    return frozenset(
        Part(table=effect.table, column=effect.column).key
        for item in undone
        for effect in item.up
        if effect.does == "adds" and not _stood_before(effect, item.rows)
    )


def _stood_before(effect: Effect, rows: Mapping[str, int] | None) -> bool:
    """Tell whether IF NOT EXISTS may have found what it would add."""
    if not effect.optional:
        return False
    return bool(effect.column) or rows is None or bool(_tables(effect.table, rows))


def _is_own(part: Part, own: Own) -> bool:
    table, column = part.key
    return (table, "") in own or (bool(column) and (table, column) in own)


def _dropped(effects: Iterable[Effect]) -> list[Part]:
    return [Part(table=e.table, column=e.column) for e in effects if e.does == "drops"]


def _of_one(item: Undone, own: tuple[Own, Own], names: set[str]) -> list[Loss]:
    """Return what one loses; `own` is what the set added before it, and in all."""
    seen = item.rehearsed
    if seen is None or not seen.rolled_back:
        return _by_text(item, own)
    missing = [name for name in seen.proven_with if name not in names]
    if missing:
        what = (
            f"anything: the rollback of {seen.name} was proven together with {missing[0]}, which "
            "is not undone with it"
        )
        return [_loss(item, what, known=False)]
    losses = [
        _loss(item, what, _table_of(what, item)) for what in seen.lost if what not in seen.more
    ]
    if losses:
        return losses
    if any(effect.does in ("changes", "deletes", "hides") for effect in item.up):
        losses = [_loss(item, what, known=False) for what in seen.lost]
    return [*losses, *_since(item, own)]


def _since(item: Undone, own: tuple[Own, Own]) -> list[Loss]:
    """Return what was empty on the copy, and is of a table that has other rows since."""
    then, now = item.rows_rehearsed, item.rows
    if then is None or now is None:
        return []
    return [
        _loss(
            item, f"{loss.what} ({then.get(loss.table, 0):,} on the copy)", loss.table, known=False
        )
        for loss in _by_text(item, own)
        if loss.known and then.get(loss.table, 0) != now.get(loss.table)
    ]


def _table_of(what: str, item: Undone) -> str:
    """Return the table that a rehearsal's words begin with, where the backup has it."""
    name = ".".join(re.split(r"[ :]", what, maxsplit=1)[0].split(".")[:2])
    return name if item.rows is not None and name in item.rows else ""


def _loss(item: Undone, what: str, table: str = "", *, known: bool = True) -> Loss:
    return Loss(
        migration=item.migration.name, what=what, table=table, backup=item.backup, known=known
    )


def _by_text(item: Undone, own: tuple[Own, Own]) -> list[Loss]:
    """Return what the texts of both scripts do to what is not the set's own, and had rows."""
    losses, (own_now, own_in_all) = list[Loss](), own
    for effect in item.up:
        losses += _of_effect(item, effect, own_now)
        if effect.does == "adds" and not _stood_before(effect, item.rows):
            own_now |= {Part(table=effect.table, column=effect.column).key}
    for effect in item.down:
        losses += _of_effect(item, effect, own_in_all)
    return losses


def _of_effect(item: Undone, effect: Effect, own: Own) -> list[Loss]:
    if effect.does == "hides":
        return [_loss(item, HIDDEN, known=False)]
    if effect.does in ("adds", "inserts"):
        return []
    if _is_own(Part(table=effect.table, column=effect.column), own):
        return []
    return [] if _keeps(effect, item) else _of_table(item, effect)


def _of_table(item: Undone, effect: Effect) -> list[Loss]:
    """Return what an effect takes from a table; nothing where it had no rows."""
    tables = {effect.table: None} if item.rows is None else _tables(effect.table, item.rows)
    return [
        _loss(item, _words(effect, name, rows), name, known=effect.does == "drops")
        for name, rows in tables.items()
        if rows != 0
    ]


def _words(effect: Effect, table: str, rows: int | None) -> str:
    part = f"{table}.{effect.column}" if effect.column else table
    if effect.does == "drops" and effect.column:
        return f"column {part}" + ("" if rows is None else f", of {rows:,} rows")
    if effect.does == "drops":
        return f"table {part}" + ("" if rows is None else f" with {rows:,} rows")
    if effect.does == "deletes":
        return f"rows of {part}" + ("" if rows is None else f" ({rows:,} before)")
    return f"values of {part}" + ("" if rows is None else f" ({rows:,} rows)")


def _tables(name: str, rows: Mapping[str, int]) -> dict[str, int | None]:
    """Return the tables that a name may mean, whatever the search_path is."""
    schema, _, bare = name.rpartition(".")
    return {
        table: count
        for table, count in rows.items()
        if (table == name if schema else table.rpartition(".")[2] == bare)
    }


def _keeps(effect: Effect, item: Undone) -> bool:
    """Tell whether a change of a type, or its way back, keeps every value of before."""
    if effect.does != "retypes":
        return False
    where = Part(table=effect.table, column=effect.column).key
    up, down = (
        next(
            (
                e
                for e in effects
                if e.does == "retypes" and Part(table=e.table, column=e.column).key == where
            ),
            None,
        )
        for effects in (item.up, item.down)
    )
    if up is None or up.using != "text":
        return False
    kept = up.becomes in TEXT or (down is not None and (down.becomes, up.becomes) in WIDER)
    return kept and (effect is up or effect.using != "")


def words(outcome: Undoing) -> str:
    """Say why an automatic rollback stops, for people."""
    reasons = [f"{name} is irreversible: {reason}" for name, reason in outcome.irreversible]
    reasons += [loss_words(loss) for loss in outcome.losses]
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more


def loss_words(loss: Loss) -> str:
    """Say what a rollback does not bring back, and where it is."""
    if not loss.known:
        return f"whether undoing {loss.migration} loses {loss.what} is not known"
    where = f"; backup {loss.backup} has them" if loss.backup else "; no backup is known to have it"
    return f"undoing {loss.migration} does not bring back {loss.what}{where}"
