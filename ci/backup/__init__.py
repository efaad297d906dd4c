"""Take a backup, list backups, prove one, restore one. Where it is kept is the store's business.

A backup is one pg_dump archive, or several of one snapshot, and a manifest, written last: without
it there is no backup. What is proven of it lies beside the manifest.
"""

from .catalog import (
    backups,
    find,
    find_rehearsal,
    last_drill,
    newest,
    note_proof,
    note_rehearsal,
    pin,
    require_young,
    unpin,
)
from .databases import create_database, drop, named
from .dump import Order, dump_command, folder, take
from .encryption import require_usable
from .prune import finish, prune
from .restore import Restored, Wanted, analyze, restore
from .retention import Backup, Choice, choose
from .stream import Progress
from .swap import kept, rows_now, swap
from .verify import verify

__all__ = [
    "Backup",
    "Choice",
    "Order",
    "Progress",
    "Restored",
    "Wanted",
    "analyze",
    "backups",
    "choose",
    "create_database",
    "drop",
    "dump_command",
    "find",
    "find_rehearsal",
    "finish",
    "folder",
    "kept",
    "last_drill",
    "named",
    "newest",
    "note_proof",
    "note_rehearsal",
    "pin",
    "prune",
    "require_usable",
    "require_young",
    "restore",
    "rows_now",
    "swap",
    "take",
    "unpin",
    "verify",
]
