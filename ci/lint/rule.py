"""What a rule is, and what it says of one statement."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Effect, FindingLevel
from ..parser.tree import Node
from .catalog import Catalog, Key
from .forward import Step


class Script(NamedTuple):
    """One file of what to write instead: its statements, what undoes and what verifies them.

    about: the end of its name: `validate`.
    rollback: empty: nothing is to be undone; None: what undoes it is not known.
    """

    about: str
    sql: tuple[str, ...]
    rollback: tuple[str, ...] | None = ()
    verify: tuple[str, ...] = ()


class Subject(NamedTuple):
    """What a rewrite is made from.

    cmd: the command of an ALTER TABLE that is rewritten; of another statement None.
    final: the catalog behind the last of the pending files.
    """

    step: Step
    cmd: Node  # or None
    final: Catalog


Rewriter = Callable[[Subject], tuple[Script, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    id: by which a migration allows what it forbids.
    level: of its findings, before `severity` looks at the table's size.
    about: what it is about, as docs/lint.md and SARIF say it.
    text: what a finding says; a template, whose {names} the call of `says` fills in.
    does: what the statement does to every row, while others wait.
    given: what the catalog says where it applies, beside the text; empty: nothing is asked.
    catalog: only the catalog knows all that it is about, so that without a connection its allowance
        is not known to be stale.
    later: the deployment finds it, not the text: by the rehearsal, or in the catalog at the end.
    instead: the shape of what to write instead, as docs/lint.md says it; empty: its author knows.
    rewrite: writes that for one statement, with its names; nothing where it cannot.
    keeps: what it writes comes before the statement, which stays as it stands.
    apart: what it proposes is a file of its own for the statement, as it stands.
    """

    id: str
    level: FindingLevel
    about: str
    text: str = ""
    does: Effect = ""
    given: str = ""
    catalog: bool = False
    later: bool = False
    instead: str = ""
    rewrite: Rewriter | None = None
    keeps: bool = False
    apart: bool = False

    def says(self, *works: Key, **words: str) -> "Remark":
        """Return what it says of a statement; `words` fill in its text.

        `works`: the tables that the statement locks or works on, the one it names first.
        """
        return Remark(self, self.text.format(**words), self.does, works)


class Remark(NamedTuple):
    """What a rule says of one statement, or of one command of an ALTER TABLE."""

    rule: Rule
    message: str
    does: Effect
    works: tuple[Key, ...] = ()
    cmd: Node | None = None
