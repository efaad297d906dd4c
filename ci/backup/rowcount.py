"""Count the rows of each table in what pg_restore prints, and compare counts. No server needed."""

import re
from collections.abc import Iterable, Mapping

from ..errors import StepFailed, Unchanged
from .stream import SHOWN
from .tables import NAME, QUALIFIED, TableName, unquoted

END = b"\n\\.\n"
HEADER = re.compile(
    rb"COPY (" + NAME + rb")\.(" + NAME + rb")(?: \(.*\))?\s+FROM stdin;\n", re.DOTALL
)
LONGEST_LINE = 16 << 20  # bytes of a line that is no row; pg_restore's have some KiB
CLIENT_ENCODING = re.compile(rb"SET client_encoding = '([^']+)';\n")


class RowCounter:
    """Counts the rows of each COPY block in the script that pg_restore prints.

    Newlines are counted blockwise: line by line, Python took 80 % of a proof's CPU time.
    """

    def __init__(self) -> None:
        self.counts: dict[TableName, int] = {}
        self._rest = b""
        self._table: TableName | None = None
        self._encoding = "utf-8"

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the script, cut anywhere."""
        buffer, at, more_input = self._rest + chunk, 0, True
        while more_input:
            step = self._script if self._table is None else self._rows
            buffer, at, more_input = step(buffer, at)
        self._rest = buffer[at:]
        if len(self._rest) > LONGEST_LINE:
            raise StepFailed(
                f"a line of what pg_restore printed is longer than {LONGEST_LINE >> 20} MiB and "
                "is no row",
                state="the archive cannot be trusted; no more of it was read",
                next_step="find out who wrote it; take another backup: invoke backup",
            )

    def finish(self) -> dict[TableName, int]:
        """Return the rows by table; an unfinished block is an error."""
        if self._table is not None:
            raise StepFailed(
                f"the data of {'.'.join(self._table)} has no end in what pg_restore printed",
                state="the archive cannot be trusted",
                next_step="take another backup: invoke backup",
            )
        return self.counts

    def _rows(self, buffer: bytes, at: int) -> tuple[bytes, int, bool]:
        # `at` is on the newline before the first row not yet looked at, or within 3 bytes of it.
        assert self._table is not None  # noqa: S101  # how feed chooses this method
        end = buffer.find(END, at)
        if end >= 0:
            self.counts[self._table] += buffer.count(b"\n", at, end + 1)
            self._table = None
            return buffer, end + len(END), True
        # The end may be cut in two: its first bytes stay, uncounted.
        keep = max(at, len(buffer) - (len(END) - 1))
        self.counts[self._table] += buffer.count(b"\n", at, keep)
        return buffer, keep, False

    def _script(self, buffer: bytes, at: int) -> tuple[bytes, int, bool]:
        end = buffer.find(b"\n", at)
        if end < 0:
            return buffer, at, False
        if not buffer.startswith((b"COPY ", b"SET client_encoding"), at):
            return buffer, end + 1, True
        line = buffer[at : end + 1]
        while line.count(b'"') % 2:  # a quoted name may hold a line end
            end = buffer.find(b"\n", end + 1)
            if end < 0:
                return buffer, at, False
            line = buffer[at : end + 1]
        if match := CLIENT_ENCODING.fullmatch(line):
            self._encoding = _codec(match[1].decode())
        elif match := HEADER.fullmatch(line):
            self._table = unquoted(match[1], match[2], self._encoding)
            # Less one: the header's own newline is counted with the first row's.
            self.counts[self._table] = self.counts.get(self._table, 0) - 1
            return buffer, end, True
        return buffer, end + 1, True


def _codec(encoding: str) -> str:
    """Return Python's name of a PostgreSQL encoding; those not listed are the same."""
    if encoding.startswith("WIN"):
        return encoding.replace("WIN", "cp")
    return {"KOI8R": "koi8_r", "KOI8U": "koi8_u", "SQL_ASCII": "utf-8", "UHC": "cp949"}.get(
        encoding, encoding.replace("ISO_8859_", "iso8859_")
    )


def by_plain_name(counts: Iterable[tuple[str, int]]) -> dict[TableName, int]:
    """Return counts by plain names: which ones are quoted differs between major versions."""
    rows_by_table: dict[TableName, int] = {}
    for name, rows in counts:
        match = QUALIFIED.fullmatch(name.encode(errors="surrogateescape"))
        if match is None:
            raise StepFailed(
                f'"{name}" in the row counts is not SCHEMA.TABLE',
                state=Unchanged("this backup cannot be verified"),
                next_step="take another one: invoke backup",
            )
        rows_by_table[unquoted(match[1], match[2])] = rows
    return rows_by_table


def check_rows(
    expected: Mapping[TableName, int], actual: Mapping[TableName, int], where: str, *, state: str
) -> None:
    """Raise unless every expected table has as many rows; `state` is what is true then."""
    differences = [
        f"{'.'.join(name)}: expected {rows} rows, got {actual.get(name, 'no such table')}"
        for name, rows in sorted(expected.items())
        if actual.get(name) != rows
    ]
    if differences:
        more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise StepFailed(
            f"{where} differs from the snapshot: {'; '.join(differences[:SHOWN])}{more}",
            state=state,
            next_step="take another backup (invoke backup), and keep this one to look into",
        )
