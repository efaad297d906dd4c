"""Remove the backups that may go: by the keys in their manifests, never by prefix.

A copy of the manifest is kept as `pruned.json` while it lasts, so that one that was cut off is no
backup any more, and is finished by the next.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from ..errors import StoreFailed, Untrusted, changed
from ..model import Manifest
from ..stores import Store
from .catalog import AT_ONCE, PIN, PROOFS, REHEARSAL
from .contents import complaint
from .dump import folder
from .retention import Backup
from .stream import MANIFEST, whole

PRUNED = "pruned.json"


def remove_backups(
    store: Store, backups: tuple[Backup, ...], *, done: Callable[[Manifest], None]
) -> None:
    """Remove these backups, several at a time, the oldest first; `done` is called after each.

    Raises:
        StoreFailed: the store did not remove something; what was removed before stays removed.

    """
    removed: list[str] = []
    first: StoreFailed | None = None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        manifests = [backup.manifest for backup in reversed(backups)]
        for manifest, ended in [(m, pool.submit(_remove, store, m)) for m in manifests]:
            if ended.cancelled():
                continue
            try:
                ended.result()
            except StoreFailed as error:
                first = first or error
                pool.shutdown(wait=True, cancel_futures=True)
            else:
                removed.append(manifest.id)
                done(manifest)
    if first is not None:
        raise changed(first, state=_so_far(removed, len(backups), first.own)) from first


def _remove(store: Store, manifest: Manifest) -> None:
    store.write(manifest.key + PRUNED, [manifest.canonical()])
    # First: without a manifest the rest does not count as a backup.
    store.delete(manifest.key + MANIFEST)
    _remove_rest(store, manifest)


def _so_far(removed: list[str], count: int, own: str) -> str:
    """Say how many of the backups are removed, where one could not be."""
    ids = f": {', '.join(removed)}" if removed else ""
    more = f"; {own}" if own else ""
    return f"{len(removed)} of {count} backups are removed{ids}; the next pruning finishes it{more}"


def unfinished(store: Store, *, environment: str, database: str) -> tuple[str, ...]:
    """Return the keys that say that a pruning was cut off; `finish` ends it."""
    keys = store.keys(folder(environment, database))
    return tuple(sorted(key for key in keys if key.endswith(f"/{PRUNED}")))


def finish(store: Store, *, environment: str, database: str) -> tuple[Manifest, ...]:
    """Remove what a pruning that was cut off left of its backups, and return these."""
    finished = []
    keys = list(store.keys(folder(environment, database)))
    for key in keys:
        if not key.endswith(f"/{PRUNED}"):
            continue
        try:
            manifest = _read_pruned(store, key)
        except Untrusted:
            continue  # the store has told; what it names is not ours to remove
        if manifest.key + MANIFEST in keys:
            store.delete(key)  # cut off before it began: the backup is whole
            continue
        _remove_rest(store, manifest)
        finished.append(manifest)
    return tuple(finished)


def _read_pruned(store: Store, key: str) -> Manifest:
    try:
        manifest = msgspec.json.decode(whole(store, key), type=Manifest)
        why = complaint(manifest, key.removesuffix(PRUNED))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error)
    else:
        if not why:
            return manifest
    raise StoreFailed(
        f"{store.address(key)} is not a readable manifest: {why}",
        state="nothing was removed",
        next_step="look at the folder: what its pruning left is no longer a backup",
    )


def _remove_rest(store: Store, manifest: Manifest) -> None:
    keys = set(store.keys(manifest.key))
    rehearsals = (key for key in keys if REHEARSAL.fullmatch(key.removeprefix(manifest.key)))
    extra_keys = (*(manifest.key + name for name in (*PROOFS, PIN)), *rehearsals)
    for key in (*(part.key for part in manifest.parts), *extra_keys):
        if key in keys:
            store.delete(key)
    store.delete(manifest.key + PRUNED)
