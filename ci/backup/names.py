"""The names of databases that a restore makes and puts aside."""

import hashlib
import re
from datetime import datetime

LONGEST = 63  # bytes; the server would cut a longer one, and two could become one
KEPT = "_before_restore_"
TIME = r"\d{8}_\d{6}"
MOMENT = "%Y%m%d_%H%M%S"
MOMENT_LENGTH = 15
BEGINNING = 38  # bytes of the live one's name in that of a new one, of at most 63


def kept_name(live: str, at: datetime) -> str:
    """Return the name under which the live database is put aside."""
    return f"{kept_prefix(live)}{at.strftime(MOMENT)}"


def kept_prefix(live: str) -> str:
    """Return how the names of all databases begin that were put aside for this one, and no other.

    Of a long name a digest takes the place of its end: two databases of one server, whose names
    begin alike, do not share what is put aside.
    """
    room = LONGEST - len(KEPT) - MOMENT_LENGTH
    if len(live.encode()) <= room:
        return live + KEPT
    digest = hashlib.sha256(live.encode()).hexdigest()[:8]
    return f"{_cut(live, room - len(digest) - 1)}_{digest}{KEPT}"


def is_kept(live: str, name: str) -> bool:
    """Tell whether a database was put aside for this one."""
    return re.fullmatch(re.escape(kept_prefix(live)) + TIME, name) is not None


def new_name(live: str, kind: str, at: datetime) -> str:
    """Return the name of a new database beside the live one; `kind`: restored or tables."""
    return f"{_cut(live, BEGINNING)}_{kind}_{at.strftime(MOMENT)}"


def _cut(text: str, length: int) -> str:
    return text.encode()[:length].decode(errors="ignore")
