"""A bucket with signed backups, and what an attacker makes of a manifest in it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pgwindlass.backup import catalog
from pgwindlass.backup.signed import SignedStore
from pgwindlass.config.sections import SigningConfig
from pgwindlass.model import Manifest, Sealed
from pgwindlass.signing import Seal
from pgwindlass.stores.directory import DirectoryStore


@dataclass
class Bucket:
    """A store with two signed backups of production, and what the attacker knows and has."""

    root: Path
    older: Manifest
    newer: Manifest
    told: list[str] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.root / "store"

    def seal(self, key: str = "production-key", **other: Any) -> Seal:
        config = SigningConfig(
            signers=other.pop("signers", "signers"), key_file=str(self.root / key) if key else ""
        )
        names = {"project": "shop", "environment": "production"} | other
        return Seal(config, root=self.root, **names)

    def store(self, key: str = "", **other: Any) -> SignedStore:
        return SignedStore(
            DirectoryStore(self.directory), self.seal(key, **other), self.told.append
        )

    def file(self, manifest: Manifest, name: str) -> Path:
        return self.directory / manifest.key / name

    def sealed(self, manifest: Manifest, name: str = "manifest.json") -> Sealed:
        return msgspec.json.decode(self.file(manifest, name).read_bytes(), type=Sealed)

    def ids(self) -> list[str]:
        found = catalog.backups(self.store(), environment="production")
        return [backup.manifest.id for backup in found]


def bare(bucket: Bucket) -> bytes:
    return bucket.newer.canonical()


def changed_document(bucket: Bucket) -> bytes:
    sealed = bucket.sealed(bucket.newer)
    other = sealed.document.replace(bucket.newer.parts[0].sha256, "0" * 64)
    assert other != sealed.document
    return msgspec.structs.replace(sealed, document=other).canonical()


def changed_binding(bucket: Bucket) -> bytes:
    sealed = bucket.sealed(bucket.newer)
    other = sealed.binding.replace('"at":"2', '"at":"3')
    assert other != sealed.binding
    return msgspec.structs.replace(sealed, binding=other).canonical()


def text_between_binding_and_document(bucket: Bucket) -> bytes:
    sealed = bucket.sealed(bucket.newer)
    moved = sealed.binding + "\n" + sealed.document[:1]
    return msgspec.structs.replace(sealed, binding=moved, document=sealed.document[1:]).canonical()


def stripped(bucket: Bucket) -> bytes:
    return msgspec.structs.replace(bucket.sealed(bucket.newer), signature="").canonical()


def older_ones_signature(bucket: Bucket) -> bytes:
    older = bucket.sealed(bucket.older)
    sealed = bucket.sealed(bucket.newer)
    return msgspec.structs.replace(sealed, signature=older.signature).canonical()


def older_one_replayed(bucket: Bucket) -> bytes:
    return bucket.file(bucket.older, "manifest.json").read_bytes()


def older_one_with_the_newer_key(bucket: Bucket) -> bytes:
    older = bucket.sealed(bucket.older)
    return msgspec.structs.replace(
        older, document=older.document.replace(bucket.older.key, bucket.newer.key)
    ).canonical()


def a_proofs_signature(bucket: Bucket) -> bytes:
    return bucket.file(bucket.newer, "proof-restore.json").read_bytes()


def a_proofs_signature_over_a_manifest(bucket: Bucket) -> bytes:
    proof = bucket.sealed(bucket.newer, "proof-restore.json")
    document = bucket.newer.canonical().decode()
    return msgspec.structs.replace(proof, document=document).canonical()


def by_a_key_of_nobody(bucket: Bucket) -> bytes:
    return signed(bucket, "mallory-key")


def by_uats_key(bucket: Bucket) -> bytes:
    return signed(bucket, "uat-key")


def by_uats_key_for_uat(bucket: Bucket) -> bytes:
    return signed(bucket, "uat-key", environment="uat")


def of_another_project(bucket: Bucket) -> bytes:
    return signed(bucket, "production-key", project="blog")


def of_another_kind(bucket: Bucket) -> bytes:
    seal = bucket.seal("production-key")
    return seal.seal("rehearsal", f"{bucket.newer.key}manifest.json", bucket.newer.canonical())


def of_another_key(bucket: Bucket) -> bytes:
    seal = bucket.seal("production-key")
    return seal.seal("manifest", f"{bucket.older.key}manifest.json", bucket.newer.canonical())


def truncated(bucket: Bucket) -> bytes:
    return bucket.file(bucket.newer, "manifest.json").read_bytes()[:-40]


def empty(bucket: Bucket) -> bytes:
    return b""


def brackets(bucket: Bucket) -> bytes:
    return b"[" * 50_000


def brackets_inside(bucket: Bucket) -> bytes:
    return msgspec.structs.replace(bucket.sealed(bucket.newer), binding="[" * 50_000).canonical()


def no_utf8(bucket: Bucket) -> bytes:
    return b'{"binding":"\xff\xfe"}'


def signed(bucket: Bucket, key: str, **other: str) -> bytes:
    store_key = f"{bucket.newer.key}manifest.json"
    return bucket.seal(key, **other).seal("manifest", store_key, bucket.newer.canonical())


# What becomes of the newer backup's manifest.
FORGERIES: tuple[Callable[[Bucket], bytes], ...] = (
    bare,
    changed_document,
    changed_binding,
    text_between_binding_and_document,
    stripped,
    older_ones_signature,
    older_one_replayed,
    older_one_with_the_newer_key,
    a_proofs_signature,
    a_proofs_signature_over_a_manifest,
    by_a_key_of_nobody,
    by_uats_key,
    by_uats_key_for_uat,
    of_another_project,
    of_another_kind,
    of_another_key,
    truncated,
    empty,
    brackets,
    brackets_inside,
    no_utf8,
)
