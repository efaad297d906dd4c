"""Backups encrypted before they leave: in the age format, which the tool of that name reads."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from pgwindlass.backup import encryption
from pgwindlass.config.sections import BackupsConfig, EncryptConfig
from pgwindlass.database.connection import Database
from pgwindlass.errors import ConfigError, StepFailed
from pgwindlass.secret import OptionalSecret, Secret
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import configured, restore, take, verify
from tests.fix_postgres import Server
from tests.kit import parts
from tests.test_backup import content, follow, run

NewDatabase = Callable[[Server], Database]
MIB = 1 << 20


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "backups")


@pytest.fixture
def origin(database16: Database) -> Database:
    run(
        database16,
        "create table t (id int, t text);"
        "insert into t select i, 'plain words ' || i from generate_series(1, 20000) i",
    )
    return database16


def encrypted(
    identity: pyrage.x25519.Identity, *, private: bool = True, jobs: int = 1
) -> BackupsConfig:
    keys = EncryptConfig(
        recipients=(str(identity.to_public()),),
        identity=OptionalSecret(str(identity)) if private else None,
    )
    return configured(encrypt=keys, jobs=jobs)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_stored_byte_is_sealed_and_comes_back(
    server16: Server,
    origin: Database,
    store: DirectoryStore,
    identity: pyrage.x25519.Identity,
    new_database: NewDatabase,
    jobs: int,
) -> None:
    config = encrypted(identity, jobs=jobs)

    manifest = take(origin, store, config)

    assert manifest.encrypted_for == config.encrypt.recipients if config.encrypt else False
    for part in manifest.parts:
        stored = b"".join(store.read(part.key))
        assert part.key.endswith(".age")
        assert stored.startswith(b"age-encryption.org/v1\n")
        assert b"PGDMP" not in stored and b"CREATE ROLE" not in stored
    assert verify(manifest, store, config, level="rows").rows == 20_000
    target = new_database(server16)
    restore(manifest, store, target, config)
    assert content(target) == content(origin)


def test_the_recipe_works_with_the_tool_age(
    server16: Server,
    origin: Database,
    store: DirectoryStore,
    identity: pyrage.x25519.Identity,
    new_database: NewDatabase,
    tmp_path: Path,
) -> None:
    manifest = take(origin, store, encrypted(identity, private=False))
    (tmp_path / "KEY_FILE").write_text(f"{identity}\n")
    target = new_database(server16)

    follow(manifest.restore_command, server16, target, tmp_path)

    assert content(target) == content(origin)


def ssh_key(directory: Path, *options: str) -> tuple[str, OptionalSecret]:
    """Make a key with ssh-keygen; return the public and the private half as their files have it."""
    file = directory / "id_ssh"
    subprocess.run(["ssh-keygen", "-q", "-C", "ops", "-f", file, *options], check=True)
    return file.with_suffix(".pub").read_text().strip(), OptionalSecret(file.read_text())


def test_an_ssh_key_seals_and_opens(
    server16: Server,
    origin: Database,
    store: DirectoryStore,
    new_database: NewDatabase,
    tmp_path: Path,
) -> None:
    public, private = ssh_key(tmp_path, "-t", "ed25519", "-N", "")
    config = configured(encrypt=EncryptConfig(recipients=(public,), identity=private))
    encryption.require_usable((public,), private)

    manifest = take(origin, store, config)

    assert verify(manifest, store, config, level="rows").rows == 20_000
    target = new_database(server16)
    restore(manifest, store, target, config)
    assert content(target) == content(origin)
    # The recipe wants the key's file, as the tool age does.
    (tmp_path / "id_ssh").rename(tmp_path / "KEY_FILE")
    by_hand = new_database(server16)
    follow(manifest.restore_command, server16, by_hand, tmp_path)
    assert content(by_hand) == content(origin)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-t", "ed25519", "-N", "long enough"), "ssh key must be decrypted first"),
        (("-t", "ecdsa", "-N", ""), "unsupported key: .*ecdsa"),
    ],
)
def test_an_ssh_key_that_age_cannot_use_is_refused_with_the_reason(
    tmp_path: Path, identity: pyrage.x25519.Identity, options: tuple[str, ...], said: str
) -> None:
    _, private = ssh_key(tmp_path, *options)

    with pytest.raises(ConfigError, match=said) as caught:
        encryption.require_usable((str(identity.to_public()),), private)

    assert "ssh-keygen -p on a copy" in caught.value.next_step
    assert private.reveal().splitlines()[2] not in parts(caught.value)


def test_the_checksum_needs_no_key_and_the_rows_say_which_is_missing(
    origin: Database, store: DirectoryStore, identity: pyrage.x25519.Identity
) -> None:
    without = encrypted(identity, private=False)
    manifest = take(origin, store, without)

    verify(manifest, store, without, level="checksum")
    with pytest.raises(ConfigError) as caught:
        verify(manifest, store, without, level="rows")

    assert str(identity.to_public()) in caught.value.what
    assert caught.value.next_step.startswith("write backups.encrypt.identity: ${AGE_IDENTITY}")


def test_another_key_cannot_open_it(
    origin: Database, store: DirectoryStore, identity: pyrage.x25519.Identity
) -> None:
    manifest = take(origin, store, encrypted(identity))
    other = pyrage.x25519.Identity.generate()

    with pytest.raises(StepFailed, match="the backup cannot be decrypted") as caught:
        verify(manifest, store, encrypted(other))

    assert str(other) not in parts(caught.value)


def test_a_flipped_byte_is_told_as_damage_not_as_a_wrong_key(
    origin: Database, store: DirectoryStore, identity: pyrage.x25519.Identity
) -> None:
    manifest = take(origin, store, encrypted(identity))
    path = store.path / manifest.parts[0].key
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)

    with pytest.raises(StepFailed, match=r"dump\.pgc\.age is damaged: expected"):
        verify(manifest, store, encrypted(identity))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"recipients": ("age1nobody",)}, '"age1nobody" is not a public key of age'),
        ({"identity": Secret("AGE-SECRET-KEY-1WRONG")}, "is not a private key that age can use"),
    ],
)
def test_a_key_that_is_none_is_refused_before_anything_is_dumped(
    identity: pyrage.x25519.Identity, keys: dict[str, object], said: str
) -> None:
    right = {"recipients": (str(identity.to_public()),), "identity": None}
    recipients, private = (right | keys).values()

    with pytest.raises(ConfigError, match=said) as caught:
        encryption.require_usable(recipients, private)  # type: ignore[arg-type]

    assert "SECRET-KEY-1WRONG" not in parts(caught.value)


def test_a_source_that_breaks_is_raised_as_it_is(identity: pyrage.x25519.Identity) -> None:
    def chunks() -> object:
        yield b"x" * MIB
        raise LookupError("the dump broke")

    with pytest.raises(LookupError, match="the dump broke"):
        list(encryption.sealed(chunks(), (str(identity.to_public()),)))  # type: ignore[arg-type]


def test_whoever_stops_reading_ends_the_sealing_too(identity: pyrage.x25519.Identity) -> None:
    ended: list[bool] = []

    def chunks() -> object:
        try:
            while True:
                yield b"x" * MIB
        finally:
            ended.append(True)

    stream = encryption.sealed(chunks(), (str(identity.to_public()),))  # type: ignore[arg-type]
    next(stream)
    stream.close()  # type: ignore[attr-defined]

    assert ended == [True]


def test_a_stream_cut_at_a_piece_is_no_whole_one(identity: pyrage.x25519.Identity) -> None:
    pieces = list(encryption.sealed([b"x" * MIB], (str(identity.to_public()),)))

    with pytest.raises(StepFailed, match="cannot be decrypted"):
        list(encryption.opened(pieces[:-1], ("age1…",), Secret(str(identity))))


def test_without_the_private_key_a_job_seals_and_opens_nothing(
    origin: Database, store: DirectoryStore, identity: pyrage.x25519.Identity
) -> None:
    config = configured(
        encrypt=EncryptConfig(recipients=(str(identity.to_public()),), identity=OptionalSecret(""))
    )
    encryption.require_usable(
        config.encrypt.recipients if config.encrypt else (), OptionalSecret("")
    )

    take(origin, store, config)

    with pytest.raises(ConfigError, match="there is no private key"):
        list(encryption.opened([b"age"], ("age1…",), OptionalSecret("  ")))
