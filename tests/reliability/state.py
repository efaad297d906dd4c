"""The state of a cell, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """The state of a cell's database, store and service, at one moment."""

    history: tuple[str, ...] = ()  # short names: m1, m2, …
    counts: tuple[tuple[str, int], ...] = ()
    kept: tuple[int, str] = (0, "")  # rows, and their hash: they stood before
    shape: str = ""
    deployments: tuple[tuple[str, str], ...] = ()  # id, status
    backups: frozenset[str] = frozenset()  # ids of those with a manifest
    databases: frozenset[str] = frozenset()
    corrections: int = 0
    approvals: int = 0  # used, as the store has it
    project: str = ""  # whose the database says that it is
    identity: str = ""  # of the service

    def same_database(self, other: "Facts") -> bool:
        """Tell whether history, schema and rows are the same, but for our own tables."""
        return (self.history, self.counts, self.kept, self.shape) == (
            other.history,
            other.counts,
            other.kept,
            other.shape,
        )
