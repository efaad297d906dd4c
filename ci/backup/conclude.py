"""Ends a backup: its manifest is written last, and where the answer is lost the store is asked."""

from collections.abc import Callable
from typing import Literal

from ..errors import StepFailed, StoreFailed
from ..model import Manifest
from ..stores import Store
from .stream import MANIFEST, whole

# stands: the manifest is there, as it was written; absent: it is not; unknown: nobody says.
Fate = Literal["stands", "absent", "unknown"]


def write(store: Store, manifest: Manifest, *, discard: Callable[[BaseException], None]) -> None:
    """Write the manifest of a backup; return where it stands, whatever became of the answer.

    `discard` removes the archives; it is called only where the manifest is known not to stand.

    Raises:
        StoreFailed: it does not stand, or the store does not say whether it does; then the
            archives stay where they are, and the next run under the lock settles it.

    """
    try:
        store.write(manifest.key + MANIFEST, [manifest.canonical()], once=True)
    except BaseException as error:
        fate = fate_of(store, manifest)
        if fate == "absent":
            discard(error)
            raise
        if not isinstance(error, StepFailed):  # stopped: what stands stays
            raise
        if fate == "unknown":
            raise _undecided(store, manifest, error) from error


def fate_of(store: Store, manifest: Manifest) -> Fate:
    """Ask the store, by its key, what became of a manifest."""
    key = manifest.key + MANIFEST
    try:
        if key not in store.keys(key):
            return "absent"
        return "stands" if whole(store, key) == manifest.canonical() else "unknown"
    except StepFailed:
        return "unknown"


def _undecided(store: Store, manifest: Manifest, error: StepFailed) -> StoreFailed:
    return StoreFailed(
        error.what,
        state=f"whether backup {manifest.id} exists is not known: its archives are stored, and the "
        f"store does not say whether {store.address(manifest.key + MANIFEST)} is; nothing was "
        "removed, the database is unchanged",
        next_step=f"when the store answers, invoke backup.list --env {manifest.environment} shows "
        "it or not; the next backup removes what has no manifest",
    )
