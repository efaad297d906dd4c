"""What a child said on its standard error: its first errors, and its end. Pure."""

import re
from collections import deque
from collections.abc import Iterable

FIRST = 3  # errors from the beginning: what follows from them may be long
TAIL = 10  # lines from the end
# A client of PostgreSQL says "error:" where it runs in the locale C, the server "ERROR:".
ERROR = re.compile(rb"\b(?:ERROR|FATAL|PANIC|error|fatal): ")


class Heard:
    """Lines of bytes, of which the first errors and the last lines are kept, in their order."""

    def __init__(self) -> None:
        self._errors: list[tuple[int, bytes]] = []
        self._tail: deque[tuple[int, bytes]] = deque(maxlen=TAIL)

    def extend(self, lines: Iterable[bytes]) -> None:
        """Hear lines, as they come; lines of blanks alone are no lines."""
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            if len(self._errors) < FIRST and ERROR.search(line):
                self._errors.append((number, line))
            self._tail.append((number, line))

    def __bytes__(self) -> bytes:
        """Return what is kept; another thread may be hearing more."""
        kept = dict((*self._errors, *tuple(self._tail)))
        return b"".join(kept[number] for number in sorted(kept))
