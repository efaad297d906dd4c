"""Take a backup, list backups, prove one, restore one. Where it is kept is the store's business.

A backup is one pg_dump archive, or several of one snapshot, and a manifest, written last: without
it there is no backup. What is proven of it lies beside the manifest.
"""

from ci.backup.databases import create_database, drop, named
from ci.backup.listing import (
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
from ci.backup.proving import verify
from ci.backup.pruning import finish, prune
from ci.backup.restoring import Restored, Wanted, analyze, restore
from ci.backup.sealing import require_usable
from ci.backup.shared import Progress
from ci.backup.swapping import kept, rows_now, swap
from ci.backup.taking import Order, dump_command, folder, take
from ci.keeping import Backup, Choice, choose

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
