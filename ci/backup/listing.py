"""Which backups there are, and which one is meant. What has no manifest is none."""

import msgspec

from ci.backup.shared import MANIFEST
from ci.backup.taking import _quoted
from ci.errors import StepFailed, StoreFailed
from ci.model import Manifest
from ci.stores import Store


def manifests(
    store: Store, *, environment: str, database: str | None = None
) -> tuple[Manifest, ...]:
    """Return the environment's backups, newest first; what has no manifest is none.

    Raises:
        StoreFailed: a manifest is none that can be read; it names the key.

    """
    prefix = f"{environment}/" if database is None else f"{environment}/{_quoted(database)}/"
    keys = [key for key in store.keys(prefix) if key.endswith(f"/{MANIFEST}")]
    found = [_read_manifest(store, key) for key in keys]
    return tuple(
        sorted(found, key=lambda manifest: (manifest.taken_at, manifest.key), reverse=True)
    )


def _read_manifest(store: Store, key: str) -> Manifest:
    content = b"".join(store.read(key))
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad_manifest(store, key, str(error)) from error
    if manifest.key + MANIFEST != key:
        raise _bad_manifest(store, key, f"it describes {manifest.key}")
    return manifest


def _bad_manifest(store: Store, key: str, why: str) -> StoreFailed:
    return StoreFailed(
        f"{store.address(key)} is no manifest that can be read: {why}",
        state="nothing was changed; this backup cannot be trusted, the others can",
        next_step="look at the file; move the backup's folder away if it is beyond repair",
    )


def find(store: Store, *, environment: str, which: str) -> Manifest:
    """Return the backup with this id or key, or the newest one for "latest".

    Raises:
        StepFailed: there is none, or there are several; it lists the ids there are.

    """
    known = manifests(store, environment=environment)
    if which == "latest" and known:
        return known[0]
    fitting = [one for one in known if which.rstrip("/") in (one.id, one.key.rstrip("/"))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        what = f'{len(fitting)} backups of {environment} have the id "{which}"'
        listed = ", ".join(one.key for one in fitting)
    else:
        what = f'{environment} has no backup "{which}"' if known else f"{environment} has no backup"
        listed = ", ".join(one.id for one in known)
    next_step = f"name one of: {listed}" if listed else f"invoke backup --env {environment}"
    raise StepFailed(what, state="nothing was changed", next_step=next_step)
