"""The revisions of a project as a graph, in an order in which they can run."""

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

import msgspec

from ...errors import ConfigError, Refused

SHORTEST = 4  # characters of an abbreviated revision, as Alembic itself asks for


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One file, as Alembic reads it."""

    revision: str
    down: tuple[str, ...]
    depends: tuple[str, ...]
    labels: tuple[str, ...]
    message: str
    path: str  # from the directory of alembic.ini

    @property
    def after(self) -> tuple[str, ...]:
        """What must have run before it."""
        return tuple(sorted({*self.down, *self.depends}))


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What the child says of a project."""

    revisions: tuple[Revision, ...]
    env: str
    directory: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Graph:
    """The revisions by name, each behind all that it builds on."""

    revisions: dict[str, Revision]

    @staticmethod
    def of(revisions: Iterable[Revision]) -> "Graph":
        """Return the graph; where two could be first, the smaller name is."""
        known = {revision.revision: revision for revision in revisions}
        sorter = TopologicalSorter({name: revision.after for name, revision in known.items()})
        try:
            sorter.prepare()
        except CycleError as error:
            raise ConfigError(
                f"the revisions {', '.join(error.args[1])} build on each other",
                next_step="mend down_revision or depends_on of one of them",
            ) from None
        free: list[str] = []
        ordered: dict[str, Revision] = {}
        while sorter.is_active():
            for name in sorter.get_ready():
                heappush(free, name)
            first = heappop(free)
            ordered[first] = known[first]
            sorter.done(first)
        return Graph(ordered)

    def heads(self) -> tuple[str, ...]:
        """Return the revisions that no other has as its down_revision."""
        below = {name for revision in self.revisions.values() for name in revision.down}
        return tuple(name for name in self.revisions if name not in below)

    def maximal(self, applied: Iterable[str]) -> tuple[str, ...]:
        """Return the heads of a database where these are applied: those no other builds on."""
        names = set(applied)
        known = (self.revisions[name] for name in names if name in self.revisions)
        below = {name for revision in known for name in revision.after}
        return tuple(sorted(names - below))

    def reached(self, heads: Iterable[str]) -> frozenset[str]:
        """Return what is applied where these are the heads; also those without a file."""
        applied = set(heads)
        for name in reversed(self.revisions):
            if name in applied:
                applied.update(self.revisions[name].after)
        return frozenset(applied)

    def named(self, text: str) -> str:
        """Return the revision that a person means: its name or its beginning, head, branch@head.

        What is not known is returned as it is, and so is "heads".

        Raises:
            Refused: it could be several.

        """
        branch, _, last = text.rpartition("@")
        if last == "head":
            heads = self.heads()
            if branch:
                heads = tuple(name for name in heads if branch in self._labels(name))
            return self._only(text, heads) if heads else text
        if text in self.revisions or len(text) < SHORTEST:
            return text
        matches = tuple(name for name in self.revisions if name.startswith(text))
        return self._only(text, matches) if matches else text

    def _labels(self, name: str) -> frozenset[str]:
        """Return the labels of a revision and of what it builds on."""
        below = self.reached([name])
        return frozenset(
            label
            for name in below
            if name in self.revisions
            for label in self.revisions[name].labels
        )

    def _only(self, text: str, matches: tuple[str, ...]) -> str:
        if len(matches) == 1:
            return matches[0]
        if text.endswith("head"):
            raise Refused(
                f"Multiple head revisions are present: {', '.join(matches)}",
                next_step="name one of them, or heads for all; or merge them: "
                "invoke create --merge --name merge_heads",
            )
        raise Refused(
            f'"{text}" could be {", ".join(matches)}', next_step="name the revision in full"
        )
