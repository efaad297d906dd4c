"""Which backups there are, how each was verified, and which one is meant."""

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec

from ..errors import UNCHANGED, Refused, StepFailed, StoreFailed, Unchanged, Untrusted
from ..model import LEVELS, Document, Manifest, Pin, Proof, Rehearsal, Sealed
from ..stores import Store
from .contents import complaint, is_place
from .dump import folder, quoted
from .retention import Backup
from .stream import MANIFEST, whole

T = TypeVar("T", bound=Document)
R = TypeVar("R")

PIN = "pin.json"
REHEARSAL = re.compile(r"rehearsal-[0-9a-f]{12}\.json")
PROOFS = {f"proof-{level}.json": level for level in LEVELS}
LOOKED_AT = 20  # of the newest keys, for one that verifies
AT_ONCE = 8  # small objects read at the same time: each is a round trip
# Made here, not at the first use: msgspec learns a type then, and threads would do it together.
MANIFESTS = msgspec.json.Decoder(Manifest)
PINS = msgspec.json.Decoder(Pin)
PROVEN = msgspec.json.Decoder(Proof)
REHEARSALS = msgspec.json.Decoder(Rehearsal)


def backups(store: Store, *, environment: str, database: str | None = None) -> tuple[Backup, ...]:
    """Return the environment's backups, newest first; what has no manifest is none.

    Where manifests and proofs are signed, those that do not verify are left out: the store tells.

    Raises:
        StoreFailed: a manifest, a proof or a pin is not readable; it names the key.

    """
    prefix = f"{environment}/" if database is None else folder(environment, database)
    keys = set(store.keys(prefix))
    folders = [key.removesuffix(MANIFEST) for key in keys if key.endswith(f"/{MANIFEST}")]

    def read_backup(place: str) -> Backup | None:
        manifest = _trusted(lambda: _read_manifest(store, place))
        if manifest is None:
            return None
        proofs = [
            _trusted(partial(_read_document, store, place + name, PROVEN))
            for name in PROOFS
            if place + name in keys
        ]
        return Backup(
            manifest=manifest,
            proofs=tuple(proof for proof in proofs if proof is not None),
            pin=_read_pin(store, manifest) if place + PIN in keys else None,
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        complete = [backup for backup in pool.map(read_backup, folders) if backup is not None]
    return tuple(sorted(complete, key=_age, reverse=True))


def newest(
    store: Store, *, environment: str, database: str, deployment: str = ""
) -> Manifest | None:
    """Return the newest backup of a database by its key, which begins with its time.

    `deployment`: the newest one of that deployment; empty: of any. One that does not verify is
    left out.
    """
    end = f"-{quoted(deployment)}/{MANIFEST}" if deployment else f"/{MANIFEST}"
    keys = [key for key in store.keys(folder(environment, database)) if key.endswith(end)]
    for key in sorted(keys, reverse=True)[:LOOKED_AT]:
        place = key.removesuffix(MANIFEST)
        manifest = _trusted(partial(_read_manifest, store, place))
        if manifest is not None:
            return manifest
    return None


def _trusted(read: Callable[[], R]) -> R | None:
    """Return what is read; None where it is not trusted, which the store has told."""
    try:
        return read()
    except Untrusted:
        return None


def _age(backup: Backup) -> tuple[datetime, str]:
    return backup.manifest.taken_at, backup.manifest.key


def _read_manifest(store: Store, place: str) -> Manifest:
    manifest = _read_document(store, place + MANIFEST, MANIFESTS)
    if not is_place(place):
        raise StoreFailed(
            f"{place + MANIFEST!r} is not a key that Windlass writes",
            state=Unchanged("this backup cannot be trusted, the others can"),
            next_step="find out who wrote it, and move the folder away",
        )
    if why := complaint(manifest, place):
        raise _unreadable(store, place + MANIFEST, why)
    return manifest


def _read_pin(store: Store, manifest: Manifest) -> Pin:
    """Return a pin; one that is not readable keeps its backup too, and hinders nobody."""
    try:
        return _read_document(store, manifest.key + PIN, PINS)
    except StoreFailed as error:
        return Pin(reason=error.what, by="not known", at=manifest.taken_at)


def _read_document(store: Store, key: str, decoder: msgspec.json.Decoder[T]) -> T:
    content = whole(store, key)
    try:
        document = decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if is_sealed(content):
            raise _unreadable(
                store, key, "it is signed, and no section signing says by whom"
            ) from error
        raise _unreadable(store, key, str(error)) from error
    return document


def is_sealed(content: bytes) -> bool:
    """Tell whether a document has a signature."""
    try:
        msgspec.json.decode(content, type=Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _unreadable(store: Store, key: str, why: str) -> StoreFailed:
    name = key.rpartition("/")[2].removesuffix(".json")
    return StoreFailed(
        f"{store.address(key)} is not a readable {name}: {why}",
        state=Unchanged("this backup cannot be trusted, the others can"),
        next_step="look at the file; if it cannot be repaired, move the backup's folder away",
    )


def find_backup(
    store: Store,
    *,
    environment: str,
    which: str,
    among: Callable[[Backup], bool] = lambda _: True,
) -> Backup:
    """Return the backup with this id or key, or the newest one for "latest".

    `among` says which ones "latest" may mean.

    Raises:
        StepFailed: there is none, or there are several; it lists the ids there are.

    """
    candidates = backups(store, environment=environment)
    latest = next((backup for backup in candidates if among(backup)), None)
    if which == "latest" and latest is not None:
        return latest
    id_or_key = which.rstrip("/")
    matches = [b for b in candidates if id_or_key in (b.manifest.id, b.manifest.key.rstrip("/"))]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        _require_trusted(store, environment, id_or_key)
    if matches:
        what = f'{len(matches)} backups of {environment} have the id "{which}"'
        names = ", ".join(backup.manifest.key for backup in matches)
    else:
        what = f"{environment} has no backup" + (f' "{which}"' if candidates else "")
        names = ", ".join(backup.manifest.id for backup in candidates)
    next_step = f"name one of: {names}" if names else f"invoke backup --env {environment}"
    raise StepFailed(what, state=UNCHANGED, next_step=next_step)


def _require_trusted(store: Store, environment: str, id_or_key: str) -> None:
    """Raise where what is named is there, and is not trusted: the error says why."""
    for key in store.keys(f"{environment}/"):
        place = key.removesuffix(MANIFEST)
        if place != key and id_or_key in (place.split("/")[-2], place.rstrip("/")):
            _read_manifest(store, place)


def require_young(manifest: Manifest, *, at_most: timedelta, now: datetime) -> None:
    """Raise `Refused` where a backup is older than somebody accepts."""
    age = now - manifest.taken_at
    if age > at_most:
        raise Refused(
            f"backup {manifest.id} is {_hours(age)} old; at most {_hours(at_most)} was asked for",
            next_step=f"invoke backup --env {manifest.environment}, or accept an older one",
        )


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"


def note_proof(store: Store, manifest: Manifest, proof: Proof) -> None:
    """Write a proof beside the manifest; a later one of the same level takes its place."""
    store.write(f"{manifest.key}proof-{proof.level}.json", [proof.canonical()])


def note_rehearsal(store: Store, manifest: Manifest, rehearsal: Rehearsal) -> None:
    """Write a rehearsal beside the backup whose copy it ran on."""
    name = f"rehearsal-{rehearsal.plan_digest[:12]}.json"
    store.write(manifest.key + name, [rehearsal.canonical()])


def find_rehearsal(
    store: Store, *, environment: str, database: str, plan_digest: str
) -> Rehearsal | None:
    """Return the newest rehearsal of exactly this plan; None: it was not rehearsed.

    Raises:
        StoreFailed: one is not readable; it names the key.

    """
    name = f"/rehearsal-{plan_digest[:12]}.json"
    keys = [key for key in store.keys(folder(environment, database)) if key.endswith(name)]
    rehearsals = [_trusted(partial(_read_document, store, key, REHEARSALS)) for key in keys]
    ours = [
        rehearsal
        for rehearsal in rehearsals
        if rehearsal is not None and rehearsal.plan_digest == plan_digest
    ]
    return max(ours, key=lambda rehearsal: rehearsal.at, default=None)


def pin(store: Store, backup: Backup, pin_: Pin) -> None:
    """Keep a backup whatever the retention says."""
    store.write(backup.manifest.key + PIN, [pin_.canonical()])


def unpin(store: Store, backup: Backup) -> None:
    """Leave a backup to the retention again; Refused where it is not pinned."""
    if backup.pin is None:
        raise Refused(
            f"backup {backup.manifest.id} is not pinned",
            next_step=f"invoke backup.list --env {backup.manifest.environment} shows which are",
        )
    store.delete(backup.manifest.key + PIN)


def last_drill(known: Iterable[Backup]) -> Proof | None:
    """Return the newest proof by a restore; None: no backup was ever restored."""
    proofs = [proof for backup in known for proof in backup.proofs if proof.level == "restore"]
    return max(proofs, key=lambda proof: proof.at, default=None)
