"""What an error of a batch is about: one row, a lock, the session, or all of it. Pure.

Only an error of a row is worth shrinking to that row: any other would hit each of them.
"""

from typing import Literal

Kind = Literal["row", "lock", "time", "lost", "statement"]

# Source: the manual, "PostgreSQL Error Codes". Classes: cardinality (21), data (22), integrity
# constraints (23), routines that a trigger calls (2F, 38, 39), CHECK OPTION (44), RAISE (P0).
ROW_CLASSES = ("09", "21", "22", "23", "27", "2F", "38", "39", "44", "P0")
LOCKS = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
TIMEOUT = "57014"  # query_canceled, by statement_timeout or by a person
# None: the line was cut. The others: the server ended the session.
LOST = frozenset({None, "57P01", "57P02", "57P03", "57P05", "25P03"})
MOST_ASIDE = 1000  # rows; when more cannot be changed, the statement is wrong, not the rows


def kind_of(sqlstate: str | None) -> Kind:
    """Return what an error is about, by its SQLSTATE; None: the connection is gone."""
    if sqlstate in LOST or sqlstate is None:
        return "lost"
    if sqlstate in LOCKS:
        return "lock"
    if sqlstate == TIMEOUT:
        return "time"
    return "row" if sqlstate.startswith(ROW_CLASSES) else "statement"


def key_text(columns: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Return a key for people: id = 17, or tenant = 3, at = 2026-01-01."""
    return ", ".join(f"{name} = {value}" for name, value in zip(columns, values, strict=True))
