"""Statements that several recipes write. Pure."""

from ..lint.parts import NOT_NULL, VALIDATED, about, short, valid_index
from ..lint.quoting import alter, quoted, shown_key
from .shape import Key
from .stage import Stage

NOTHING = ("SELECT 1",)


def none_left(key: Key, condition: str) -> str:
    """Return a query that is true where no row is so."""
    return f"SELECT NOT EXISTS (SELECT FROM {shown_key(key)} WHERE {condition})"


def not_null_check(key: Key, column: str) -> tuple[str, str]:
    """Return the name of the CHECK that proves a column, and what adds it."""
    name = short(f"{key[1]}_{column}_present")
    clause = f"CHECK ({quoted(column)} IS NOT NULL) NOT VALID"
    return name, alter(key, f"ADD CONSTRAINT {quoted(name)} {clause}")


def not_null(key: Key, column: str) -> tuple[Stage, ...]:
    """Return what makes a filled column NOT NULL, without reading the table under a strong lock."""
    name, added = not_null_check(key, column)
    dropped = alter(key, f"DROP CONSTRAINT {quoted(name)}")
    set_not_null = alter(key, f"ALTER COLUMN {quoted(column)} SET NOT NULL")
    drop_not_null = alter(key, f"ALTER COLUMN {quoted(column)} DROP NOT NULL")
    return (
        Stage(
            about=f"check {key[1]} {column}",
            why=f"from here on {column} is never NULL; the rows are read by the next one",
            sql=(added,),
            rollback=(dropped,),
        ),
        Stage(
            about=f"validate {key[1]} {column}",
            why="reads every row; nobody waits",
            sql=(alter(key, f"VALIDATE CONSTRAINT {quoted(name)}"),),
            rollback=(dropped, added),
        ),
        Stage(
            about=f"not null {key[1]} {column}",
            why="the CHECK has proven it: no row is read",
            sql=(set_not_null, dropped),
            rollback=(drop_not_null, added, alter(key, f"VALIDATE CONSTRAINT {quoted(name)}")),
            verify=(about(NOT_NULL, key, column),),
        ),
    )


def validated(key: Key, name: str, clause: str, *, lasting: bool = True) -> tuple[Stage, Stage]:
    """Return what adds a constraint, and what validates it; `lasting`: it is to stay."""
    added = alter(key, f"ADD CONSTRAINT {quoted(name)} {clause} NOT VALID")
    dropped = alter(key, f"DROP CONSTRAINT {quoted(name)}")
    return (
        Stage(
            about=f"add {name}",
            why="for new rows; those that are there are read by the next one",
            sql=(added,),
            rollback=(dropped,),
        ),
        Stage(
            about=f"validate {name}",
            why="reads every row; nobody waits",
            sql=(alter(key, f"VALIDATE CONSTRAINT {quoted(name)}"),),
            rollback=(dropped, added),
            verify=(about(VALIDATED, key, name),) if lasting else (),
        ),
    )


def built(key: Key, name: str, definition: str) -> Stage:
    """Return what builds an index beside the writers."""
    index = (key[0], name)
    return Stage(
        about=f"index {name}",
        why="built beside the writers",
        sql=(definition,),
        rollback=(f"DROP INDEX CONCURRENTLY IF EXISTS {shown_key(index)}",),
        verify=(valid_index(index),),
    )


def function(key: Key, name: str, body: str) -> str:
    """Return a trigger's function."""
    return (
        f"CREATE FUNCTION {shown_key((key[0], name))}() RETURNS trigger "
        f"LANGUAGE plpgsql AS $sync$\n{body}\n$sync$"
    )


def trigger(key: Key, name: str, when: str, of: Key | None = None) -> str:
    """Return the trigger that calls the function of its name."""
    return (
        f"CREATE TRIGGER {quoted(name)} {when} ON {shown_key(of or key)} FOR EACH ROW "
        f"EXECUTE FUNCTION {shown_key((key[0], name))}()"
    )


def without(key: Key, name: str, of: Key | None = None) -> tuple[str, str]:
    """Return what drops a trigger, and its function."""
    return (
        f"DROP TRIGGER {quoted(name)} ON {shown_key(of or key)}",
        f"DROP FUNCTION {shown_key((key[0], name))}()",
    )
