"""Whoever can write the bucket replaces, changes, moves and invents: none of it is taken.

A production's backups are signed with a key of their own. The attacker has every right to the
bucket, keys of their own and UAT's, every genuine object, and not production's key.
"""

import gzip
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from pgwindlass.backup import catalog, dump, encryption
from pgwindlass.backup.prune import finish
from pgwindlass.backup.rowcount import RowCounter
from pgwindlass.backup.signed import SignedStore
from pgwindlass.backup.stream import Meter, whole
from pgwindlass.backup.verify import reader
from pgwindlass.config.sections import SigningConfig
from pgwindlass.database.connection import Database
from pgwindlass.errors import ConfigError, StepFailed, StoreFailed, Untrusted, WindlassError
from pgwindlass.model import LEVELS, DocumentKind, Manifest, Part, Proof, Rehearsal
from pgwindlass.secret import OptionalSecret, Secret
from pgwindlass.signing import Seal
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import CONFIG, HISTORY, MOMENT, restore, silent, verify
from tests.fix_postgres import Server
from tests.kit import new_key, parts
from tests.laws.nobody_gets_in.forgeries import FORGERIES, Bucket

pytestmark = [pytest.mark.attack, pytest.mark.sampled(3)]

NewDatabase = Callable[[Server], Database]
DIGEST = "d" * 64
PROOF = Proof(level="restore", at=MOMENT, seconds=1.0, tables=1, rows=9, server="a drill")
REHEARSAL = Rehearsal(
    plan_digest=DIGEST,
    backup="b",
    backup_taken_at=MOMENT,
    server="s",
    at=MOMENT,
    backup_seconds=0.0,
    proof_seconds=0.0,
    restore_seconds=0.0,
    migrations=(),
)


@pytest.fixture(scope="module")
def taken(servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    """Two signed backups of one database, a minute apart; the newer proven and rehearsed on."""
    root = tmp_path_factory.mktemp("bucket")
    public = {name: new_key(root / f"{name}-key") for name in ("production", "uat", "mallory")}
    (root / "signers").write_text(f"production {public['production']}uat {public['uat']}")
    server = servers(16)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("create database bucket_origin")
    database = Database(url=Secret(server.url("bucket_origin")), deployment_id="test")
    with database.connect("test") as connection:
        connection.execute(
            b"create table t (id int, s text);"
            b"insert into t select i, md5(i::text) from generate_series(1, 60000) i"
        )
    store = SignedStore(
        DirectoryStore(root / "store"), production_seal(root), lambda text: pytest.fail(text)
    )

    def taken_at(moment: datetime, deployment: str) -> Manifest:
        order = dump.Order(environment="production", deployment=deployment, history=HISTORY.tables)
        return dump.take(database, store, order, CONFIG, now=lambda: moment, progress=silent)

    older, newer = taken_at(MOMENT, "d1"), taken_at(MOMENT + timedelta(minutes=1), "d2")
    catalog.note_proof(store, newer, PROOF)
    catalog.note_rehearsal(store, newer, REHEARSAL)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("drop database bucket_origin")
    return Bucket(root, older, newer)


def production_seal(root: Path) -> Seal:
    config = SigningConfig(signers="signers", key_file=str(root / "production-key"))
    return Seal(config, project="shop", environment="production", root=root)


@pytest.fixture
def bucket(taken: Bucket, tmp_path: Path) -> Iterator[Bucket]:
    """Yield a bucket of the test's own, as it was taken."""
    root = tmp_path / "own"
    shutil.copytree(taken.root, root)
    yield Bucket(root, taken.older, taken.newer)
    shutil.rmtree(root)


def test_what_is_genuine_is_taken(bucket: Bucket) -> None:
    found = catalog.backups(bucket.store(), environment="production")

    assert [backup.manifest for backup in found] == [bucket.newer, bucket.older]
    assert [backup.level for backup in found] == ["restore", None]
    assert find_rehearsal(bucket) == REHEARSAL
    assert bucket.told == []


def find_rehearsal(bucket: Bucket) -> Rehearsal | None:
    return catalog.find_rehearsal(
        bucket.store(),
        environment="production",
        database=bucket.newer.database,
        plan_digest=DIGEST,
    )


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_manifest_that_production_did_not_sign_is_no_backup(
    bucket: Bucket, forge: Callable[[Bucket], bytes]
) -> None:
    bucket.file(bucket.newer, "manifest.json").write_bytes(forge(bucket))

    assert bucket.ids() == [bucket.older.id]
    assert len(bucket.told) == 1
    assert "manifest.json is not trusted: " in bucket.told[0]
    with pytest.raises(Untrusted, match="is not trusted"):
        catalog.find_backup(bucket.store(), environment="production", which=bucket.newer.id)
    assert (
        catalog.find_backup(bucket.store(), environment="production", which="latest").manifest
        == bucket.older
    )
    newest = catalog.newest(
        bucket.store(), environment="production", database=bucket.newer.database
    )
    assert newest == bucket.older


def test_a_manifest_of_100_mb_ends_before_it_is_read(bucket: Bucket) -> None:
    with bucket.file(bucket.newer, "manifest.json").open("wb") as file:
        file.truncate(100 << 20)
    began = time.monotonic()

    assert bucket.ids() == [bucket.older.id]

    assert "is larger than 32 MiB" in bucket.told[0]
    with pytest.raises(StoreFailed, match="is larger than 32 MiB"):
        whole(DirectoryStore(bucket.directory), f"{bucket.newer.key}manifest.json")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["proof-restore.json", "rehearsal-dddddddddddd.json"])
@pytest.mark.parametrize("how", ["bare", "of the older backup", "by uat", "renamed"])
def test_a_proof_or_rehearsal_that_production_did_not_sign_counts_for_nothing(
    bucket: Bucket, name: str, how: str
) -> None:
    document = PROOF if name.startswith("proof") else REHEARSAL
    kind: DocumentKind = "proof" if name.startswith("proof") else "rehearsal"
    file, key = bucket.file(bucket.newer, name), f"{bucket.newer.key}{name}"
    seal = bucket.seal("production-key")
    forged = {
        "bare": document.canonical(),
        "of the older backup": seal.seal(
            kind, key.replace(bucket.newer.key, bucket.older.key), document.canonical()
        ),
        "by uat": bucket.seal("uat-key").seal(kind, key, document.canonical()),
        "renamed": seal.seal(kind, key.replace("-", "-x"), document.canonical()),
    }[how]
    file.write_bytes(forged)

    found = catalog.backups(bucket.store(), environment="production")
    assert [backup.level for backup in found] == (
        [None, None] if kind == "proof" else ["restore", None]
    )
    assert (find_rehearsal(bucket) is None) is (kind == "rehearsal")
    assert any(f"{name} is not trusted" in line for line in bucket.told)


@pytest.mark.parametrize("content", [b"", b"junk", b"[" * 50_000, bytes(40 << 20)])
def test_a_junk_pin_keeps_its_backup_and_hinders_nobody(bucket: Bucket, content: bytes) -> None:
    bucket.file(bucket.newer, "pin.json").write_bytes(content)

    found = catalog.backups(bucket.store(), environment="production")

    assert [backup.pin is not None for backup in found] == [True, False]


def test_an_invented_backup_with_a_later_time_is_not_the_latest(bucket: Bucket) -> None:
    place = bucket.newer.key.replace("2026", "9999")
    fake = msgspec.structs.replace(
        bucket.newer, key=place, taken_at=datetime(9999, 1, 1, tzinfo=UTC)
    )
    shutil.copytree(bucket.directory / bucket.newer.key, bucket.directory / place)
    (bucket.directory / place / "manifest.json").write_bytes(fake.canonical())

    assert bucket.ids() == [bucket.newer.id, bucket.older.id]
    assert bucket.told


def test_a_folder_with_escape_sequences_in_its_name_is_told_without_them(bucket: Bucket) -> None:
    place = bucket.directory / "production" / bucket.newer.database / "2026\x1b[2J\n::error::x"
    shutil.copytree(bucket.directory / bucket.newer.key, place)

    assert bucket.ids() == [bucket.newer.id, bucket.older.id]
    assert bucket.told and all(line.isprintable() for line in bucket.told)


@pytest.mark.parametrize("line", ["* KEY", "p* KEY", "!uat,production KEY", "@cert"])
def test_a_signers_file_that_takes_anybody_is_refused(bucket: Bucket, line: str) -> None:
    public = (bucket.root / "mallory-key.pub").read_text()
    written = (
        f"production cert-authority {public}" if line == "@cert" else line.replace("KEY", public)
    )
    (bucket.root / "signers").write_text(written)

    with pytest.raises(ConfigError, match=r"signers:1: .* is a pattern or an authority"):
        bucket.ids()


# The archive itself: what is not what was stored reaches no program of ours.


def another_of_its_size(content: bytes) -> bytes:
    return b"PGDMP" + bytes(len(content) - 5)


def changed_after_a_megabyte(content: bytes) -> bytes:
    return content[: (1 << 20) + 9] + b"!" + content[(1 << 20) + 10 :]


def longer(content: bytes) -> bytes:
    return content + b"\n\\.\nCREATE TABLE hacked ();\n"


def shorter(content: bytes) -> bytes:
    return content[: len(content) // 2]


def bomb(content: bytes) -> bytes:
    return gzip.compress(bytes(1 << 26)) + content


def absent(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    "replaced",
    [another_of_its_size, changed_after_a_megabyte, longer, shorter, bomb, absent],
    ids=lambda replaced: replaced.__name__,
)
def test_of_a_replaced_archive_not_one_other_byte_is_handed_on(
    bucket: Bucket, replaced: Callable[[bytes], bytes]
) -> None:
    (part,) = bucket.newer.archives
    file = bucket.directory / part.key
    genuine = file.read_bytes()
    assert len(genuine) > 1 << 20
    file.write_bytes(replaced(genuine))
    reading = reader(bucket.newer, bucket.store(), CONFIG, bucket.newer.server_version)
    got = bytearray()

    with (
        pytest.raises(StepFailed, match="is damaged: expected"),
        closing(reading.archive(part, Meter(silent))) as archive,
    ):
        for chunk in archive:
            got += chunk

    assert genuine.startswith(got)
    assert len(got) < len(genuine)
    for level in LEVELS[:2]:
        with pytest.raises(StepFailed, match="is damaged: expected"):
            verify(bucket.newer, bucket.store(), level=level)


def test_an_endless_archive_is_read_no_further_than_it_should_be(bucket: Bucket) -> None:
    (part,) = bucket.newer.archives
    with (bucket.directory / part.key).open("r+b") as file:
        file.truncate(1 << 40)  # a terabyte, of holes
    began = time.monotonic()

    for level in LEVELS[:2]:
        with pytest.raises(StepFailed, match="is damaged: expected"):
            verify(bucket.newer, bucket.store(), level=level)
    assert time.monotonic() - began < 20


def test_a_restore_of_a_replaced_archive_runs_none_of_its_sql(
    bucket: Bucket, server16: Server, new_database: NewDatabase
) -> None:
    """The replaced archive is a genuine one, of the attacker's own database."""
    other, target = new_database(server16), new_database(server16)
    with other.connect("test") as connection:
        connection.execute("create table hacked (i int)")
    plain = DirectoryStore(bucket.root / "elsewhere")
    order = dump.Order(environment="production", deployment="x", history=HISTORY.tables)
    theirs = dump.take(other, plain, order, CONFIG, now=lambda: MOMENT, progress=silent)
    (own,), (part,) = theirs.archives, bucket.newer.archives
    shutil.copy(bucket.root / "elsewhere" / own.key, bucket.directory / part.key)

    with pytest.raises(StepFailed, match="is damaged"):
        restore(bucket.newer, bucket.store(), target)

    with target.connect("test") as connection:
        assert connection.execute("select to_regclass('hacked')").fetchone() == (None,)


def test_an_older_manifest_without_checkpoints_is_read_once_before_anything_is_handed_on(
    bucket: Bucket,
) -> None:
    (part,) = bucket.newer.archives
    bare_part = msgspec.structs.replace(part, every=0, checkpoints=())
    manifest = msgspec.structs.replace(bucket.newer, parts=(bare_part,))
    file = bucket.directory / part.key
    file.write_bytes(changed_after_a_megabyte(file.read_bytes()))
    reading = reader(manifest, bucket.store(), CONFIG, manifest.server_version)

    with pytest.raises(StepFailed, match="is damaged"):
        next(reading.archive(bare_part, Meter(silent)))


# Bombs, which a consistent forgery could hold where nothing is signed.


def test_an_age_header_without_an_end_is_read_no_further() -> None:
    """The library's time grows with the square: 4 MiB of recipients take it minutes."""
    age = pytest.importorskip("pyrage")
    identity = age.x25519.Identity.generate()
    genuine = age.encrypt(b"x", [identity.to_public()])
    first, *stanza = genuine.split(b"\n--- ")[0].split(b"\n")
    endless = itertools.chain([first + b"\n"], itertools.repeat(b"\n".join([*stanza, b""]) * 1000))
    began = time.monotonic()

    with pytest.raises(StepFailed, match="its age header has no end in 65536 bytes"):
        list(encryption.opened(endless, ("age1",), Secret(str(identity))))

    assert time.monotonic() - began < 5


def test_a_header_of_many_recipients_is_still_read() -> None:
    age = pytest.importorskip("pyrage")
    keys = [age.x25519.Identity.generate() for _ in range(200)]
    recipients = tuple(str(key.to_public()) for key in keys)

    sealed = b"".join(encryption.sealed([b"rows"], recipients))

    opened = encryption.opened([sealed[:9], sealed[9:]], recipients, Secret(str(keys[-1])))
    assert b"".join(opened) == b"rows"


def test_a_script_of_one_endless_line_is_read_no_further() -> None:
    counter = RowCounter()

    with pytest.raises(StepFailed, match="is longer than 16 MiB and is no row"):
        for _ in range(64):
            counter.feed(b"a" * (1 << 20))


# Where nothing is signed, a manifest still names nothing outside its own folder.


@pytest.mark.parametrize(
    "key",
    [
        "{place}../../../production/app/x/dump.pgc",
        "/etc/passwd",
        "{place}a\nb.pgc",
        "{place}sub/dump.pgc",
        "{place}.hidden",
        "uat/other/20260803T101500Z-d9/dump.pgc",
        "{place}",
        "",
    ],
)
def test_a_manifest_names_no_file_but_those_of_its_own_folder(tmp_path: Path, key: str) -> None:
    store, place = DirectoryStore(tmp_path), "uat/app/20260803T101500Z-d1/"
    part = Part(key=key.format(place=place), size=1, sha256="0" * 64)
    store.write(f"{place}manifest.json", [invented(place, part).canonical()])

    with pytest.raises(StoreFailed, match=r"is not a file of its own folder") as caught:
        catalog.backups(store, environment="uat")

    assert "\n" not in caught.value.what
    assert "manifest.json is not a readable manifest" in caught.value.what


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"sha256": "zz"},
        {"every": 1, "checkpoints": ("0" * 64,)},
        {"every": 1 << 40, "checkpoints": ()},
        {"every": 1 << 20, "checkpoints": ("0" * 64,) * 9},
        {"every": 0, "checkpoints": ("0" * 64,)},
    ],
)
def test_a_manifest_with_sizes_that_cannot_be_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    store, place = DirectoryStore(tmp_path), "uat/app/20260803T101500Z-d1/"
    part = msgspec.structs.replace(Part(key=f"{place}dump.pgc", size=1, sha256="0" * 64), **change)
    store.write(f"{place}manifest.json", [invented(place, part).canonical()])

    with pytest.raises(StoreFailed, match="is not a readable manifest"):
        catalog.backups(store, environment="uat")


@pytest.mark.parametrize("place", ["uat/app/a\nb/", "uat/a\x1b[2Jb/c/", "uat/app/a b/", "uat/x/"])
def test_a_folder_with_a_name_of_nobodys_is_refused(tmp_path: Path, place: str) -> None:
    store = DirectoryStore(tmp_path)
    part = Part(key=f"{place}dump.pgc", size=1, sha256="0" * 64)
    store.write(f"{place}manifest.json", [invented(place, part).canonical()])

    with pytest.raises(StoreFailed, match="is not a key that Windlass writes") as caught:
        catalog.backups(store, environment="uat")

    assert caught.value.what.isprintable()


def invented(place: str, *stored: Part) -> Manifest:
    return Manifest(
        key=place,
        environment="uat",
        database="app",
        system_identifier="1",
        deployment="d1",
        taken_at=MOMENT,
        seconds=1.0,
        server_version=160014,
        client_version="16.14",
        parts=stored,
        row_counts=(),
        applied=(),
        restore_command="",
    )


@pytest.mark.parametrize("forged", ["bare", "of its own folder"])
def test_a_forged_note_of_a_pruning_removes_nothing(bucket: Bucket, forged: str) -> None:
    """`pruned.json` names what is still to be removed."""
    before = sorted(path for path in bucket.directory.rglob("*") if path.is_file())
    place = bucket.newer.key.replace("2026", "2025")
    named = bucket.newer if forged == "bare" else msgspec.structs.replace(bucket.newer, key=place)
    note = bucket.directory / place / "pruned.json"
    note.parent.mkdir(parents=True)
    note.write_bytes(named.canonical())

    finish(bucket.store(), environment="production", database=bucket.newer.database)

    assert sorted(p for p in bucket.directory.rglob("*") if p.is_file()) == sorted([*before, note])
    with pytest.raises(StoreFailed, match="is not a readable manifest"):
        finish(
            DirectoryStore(bucket.directory),
            environment="production",
            database=bucket.newer.database,
        )


# The key.


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ssh-keygen before the real one, which notes what any user of the machine could see."""
    real, seen = shutil.which("ssh-keygen"), tmp_path / "seen"
    program = tmp_path / "bin" / "ssh-keygen"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {seen}\nenv >> {seen}\n'
        f'for word in "$@"; do [ -e "$word" ] && stat -c "%a %n" "$word" >> {seen}; done\n'
        f'exec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return seen


def test_the_private_key_is_in_no_argument_variable_or_open_file(
    bucket: Bucket, watched: Path
) -> None:
    text = (bucket.root / "production-key").read_text()
    config = SigningConfig(signers="signers", key=OptionalSecret(text))
    seal = Seal(config, project="shop", environment="production", root=bucket.root)

    sealed = seal.seal("manifest", "k", b"{}")

    assert bucket.seal("").open("manifest", "k", sealed, "k") == b"{}"
    seen = watched.read_text()
    assert not any(line in seen for line in text.splitlines())
    key_file = next(line for line in seen.splitlines() if line.endswith("/key") and line[0] != "-")
    assert key_file.startswith("600 ")
    assert not Path(key_file.split(" ", 1)[1]).parent.exists()


def test_a_key_that_signs_nothing_is_not_shown_by_its_error(bucket: Bucket) -> None:
    text = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0LXNlY3JldC1zZWNyZXQ=\n-----END-----"
    config = SigningConfig(signers="signers", key=OptionalSecret(text))
    seal = Seal(config, project="shop", environment="production", root=bucket.root)

    with pytest.raises(WindlassError) as caught:
        seal.seal("manifest", "k", b"{}")

    assert "c2VjcmV0" not in parts(caught.value)
    assert "did not sign" in caught.value.what


@pytest.mark.parametrize("missing", ["file", "environment"])
def test_without_a_signer_nothing_is_taken(bucket: Bucket, missing: str) -> None:
    if missing == "file":
        (bucket.root / "signers").unlink()
    else:
        (bucket.root / "signers").write_text("uat ssh-ed25519 AAAA\n")

    with pytest.raises(ConfigError, match=r"cannot be read|has no key of production"):
        bucket.ids()


def test_without_a_key_nothing_is_written(bucket: Bucket) -> None:
    store = bucket.store("")
    before = sorted(store.keys(""))

    with pytest.raises(ConfigError, match="there is no key here to sign with"):
        catalog.note_proof(store, bucket.older, PROOF)

    assert sorted(store.keys("")) == before


def test_a_revoked_keys_backups_do_not_count(bucket: Bucket) -> None:
    public = (bucket.root / "production-key.pub").read_text()
    (bucket.root / "signers").write_text(f'production valid-before="20260101" {public}')

    assert bucket.ids() == []


def test_a_key_for_rehearsals_alone_signs_no_manifest(bucket: Bucket) -> None:
    public = (bucket.root / "mallory-key.pub").read_text()
    with (bucket.root / "signers").open("a") as file:
        file.write(f'production namespaces="windlass-rehearsal" {public}')
    seal, key = bucket.seal("mallory-key"), f"{bucket.newer.key}manifest.json"

    assert seal.open("rehearsal", "r", seal.seal("rehearsal", "r", b"{}"), "r") == b"{}"
    bucket.directory.joinpath(key).write_bytes(seal.seal("manifest", key, bucket.newer.canonical()))
    assert bucket.ids() == [bucket.older.id]


def test_unsigned_as_before_a_consistent_forgery_is_taken(
    bucket: Bucket, server16: Server, new_database: NewDatabase
) -> None:
    """What the signature is for: below production, and without it, all of this is believed."""
    target, plain = new_database(server16), DirectoryStore(bucket.directory)
    for manifest in (bucket.older, bucket.newer):
        bucket.file(manifest, "manifest.json").write_bytes(manifest.canonical())
    for name in ("proof-restore.json", "rehearsal-dddddddddddd.json"):
        bucket.file(bucket.newer, name).unlink()

    found = catalog.find_backup(plain, environment="production", which="latest").manifest
    assert restore(found, plain, target).rows == 60_000
