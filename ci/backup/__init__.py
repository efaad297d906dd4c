"""Take a backup, list backups, prove one, restore one. Where it is kept is the store's business.

A backup is one pg_dump archive and a manifest, written last: without it there is no backup.
"""

from ci.backup.listing import find, manifests
from ci.backup.proving import RowCounter, Verified, verify
from ci.backup.restoring import Restored, create_database, restore
from ci.backup.shared import Depth, Progress
from ci.backup.taking import dump_command, take

__all__ = [
    "Depth",
    "Progress",
    "Restored",
    "RowCounter",
    "Verified",
    "create_database",
    "dump_command",
    "find",
    "manifests",
    "restore",
    "take",
    "verify",
]
