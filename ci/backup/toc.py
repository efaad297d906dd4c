"""An archive's table of contents, as pg_restore prints it: compared, and filtered."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .. import process
from ..errors import ChildFailed, StepFailed
from ..postgres.clients import Clients
from .stream import NOT_KEPT, SHOWN
from .tables import TableName

HEAD = 4 << 20  # bytes of an archive's beginning that are kept for its table of contents
HEAD_PER_TABLE = 4 << 10  # and this for each table: names, columns, owner


@dataclass(slots=True)
class Head:
    """Keeps the first bytes of a stream while it passes."""

    limit: int
    content: bytearray = field(default_factory=bytearray)

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks as they are."""
        for chunk in chunks:
            if len(self.content) < self.limit:
                self.content += chunk[: self.limit - len(self.content)]
            yield chunk


def listing(clients: Clients, source: Iterable[bytes]) -> tuple[str, ...]:
    """Return the lines of `pg_restore --list` that name entries; reads no more than it needs."""
    printed = b"".join(
        process.pipe(clients.command("pg_restore", "--list"), source, purpose=clients.offline)
    )
    lines = printed.decode(errors="surrogateescape").splitlines()
    return tuple(line for line in lines if line and not line.startswith(";"))


def script(clients: Clients, source: Iterable[bytes], chosen: Path) -> bytes:
    """Return the SQL of the entries that a file lists; reads no more than these need."""
    command = clients.command(
        "pg_restore", f"--use-list={chosen}", "--file=-", directory=str(chosen.parent)
    )
    return b"".join(process.pipe(command, source, purpose=clients.offline))


def entries(lines: Iterable[str]) -> frozenset[str]:
    """Return what the lines name, without the numbers that differ from dump to dump."""
    return frozenset(line.split(";", 1)[1] for line in lines)


def require_whole(parts: frozenset[str], whole: frozenset[str]) -> None:
    """Raise unless the archives together hold what one archive of everything would."""
    missing, extra = sorted(whole - parts), sorted(parts - whole)
    if not missing and not extra:
        return
    differences = [
        f"{len(lines)} {word}: {'; '.join(line.strip() for line in lines[:SHOWN])}"
        for word, lines in (("missing", missing), ("not in one dump of everything", extra))
        if lines
    ]
    raise StepFailed(
        f"the parts of the backup are not the whole database: {'; '.join(differences)}",
        state=NOT_KEPT,
        next_step="report this as a bug; until then write jobs: 1 under backups in deploy.yml",
    )


def only_rows_of(
    lines: Iterable[str], wanted: frozenset[TableName], known: Iterable[TableName]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines that restore every definition but only the rows of the wanted tables.

    The second tuple is what was left out because it needs the other tables' rows: foreign keys
    of the wanted tables, the contents of materialised views, large objects.

    Args:
        lines: of `listing`.
        wanted: the tables whose rows are restored.
        known: every table of the backup; a name with spaces can be told by these alone.

    """
    named = sorted(known, key=lambda name: -len(" ".join(name)))
    kept, left_out = [], []
    for line in lines:
        # ID; catalog OID KIND SCHEMA NAME …, where the kind is one to three words in capitals
        rest = line.split(" ", 3)[3] if line.count(" ") > 2 else line
        if rest.startswith("TABLE DATA "):
            if _table_named(rest.removeprefix("TABLE DATA "), named) in wanted:
                kept.append(line)
        elif rest.startswith("FK CONSTRAINT "):
            of = rest.removeprefix("FK CONSTRAINT ")
            if _table_named(of, named) in wanted:
                left_out.append(f"foreign key {of}")
            else:
                kept.append(line)
        elif rest.startswith(("MATERIALIZED VIEW DATA ", "BLOB")):
            left_out.append(rest)
        else:
            kept.append(line)
    return tuple(kept), tuple(left_out)


def _table_named(text: str, named: list[TableName]) -> TableName | None:
    return next((name for name in named if text.startswith(" ".join(name) + " ")), None)


def listed_or_damaged(clients: Clients, head: bytes, address: str) -> tuple[str, ...]:
    """Return the entries of an archive whose beginning is given; names it where there are none."""
    try:
        return listing(clients, [head])
    except ChildFailed as error:
        raise StepFailed(
            f"{address} has no table of contents that pg_restore reads: {error.what}",
            state=NOT_KEPT,
            next_step="start again; if it stays so, write jobs: 1 under backups in deploy.yml",
        ) from error
