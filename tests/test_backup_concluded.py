"""A manifest whose answer is lost: the store is asked before anything is said or removed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pgwindlass.backup import catalog
from pgwindlass.database.connection import Database
from pgwindlass.errors import StepFailed, StoreFailed
from pgwindlass.stores import directory
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import take


class LosesTheAnswer(DirectoryStore):
    """Stores a manifest and does not say so; `mute`: it does not list either, from then on."""

    def __init__(self, path: Path, *, mute: bool = False, interrupts: bool = False) -> None:
        super().__init__(path)
        self.mute, self.interrupts, self.lost = mute, interrupts, False

    def write(self, key: str, chunks: Iterable[bytes], **how: int) -> str:
        address = super().write(key, chunks, **how)  # type: ignore[arg-type]
        if key.endswith("manifest.json"):
            self.lost = True
            if self.interrupts:
                raise KeyboardInterrupt
            raise StoreFailed("cut", state="the object is not whole there", next_step="again")
        return address

    def keys(self, prefix: str) -> Iterator[str]:
        if self.mute and self.lost:
            raise StoreFailed("cut", state="nothing was listed", next_step="again")
        return super().keys(prefix)


def test_a_manifest_that_stands_is_a_backup(database16: Database, tmp_path: Path) -> None:
    manifest = take(database16, LosesTheAnswer(tmp_path))

    assert [one.manifest for one in catalog.backups(DirectoryStore(tmp_path), environment="uat")]
    assert all((tmp_path / part.key).exists() for part in manifest.parts)


def test_where_the_store_says_nothing_nothing_is_removed(
    database16: Database, tmp_path: Path
) -> None:
    with pytest.raises(StepFailed) as caught:
        take(database16, LosesTheAnswer(tmp_path, mute=True))

    (backup,) = catalog.backups(DirectoryStore(tmp_path), environment="uat")
    assert all((tmp_path / part.key).exists() for part in backup.manifest.parts)
    assert "is not known" in caught.value.state
    assert "invoke backup.list --env uat" in caught.value.next_step


def test_a_signal_behind_the_manifest_takes_nothing_back(
    database16: Database, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        take(database16, LosesTheAnswer(tmp_path, interrupts=True))

    (backup,) = catalog.backups(DirectoryStore(tmp_path), environment="uat")
    assert all((tmp_path / part.key).exists() for part in backup.manifest.parts)


def test_a_directory_that_cannot_be_synced_has_the_manifest_all_the_same(
    database16: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = directory._sync_directory

    def broken(place: Path) -> None:
        if (place / "manifest.json").exists():
            raise OSError(5, "Input/output error")
        real(place)

    monkeypatch.setattr(directory, "_sync_directory", broken)

    manifest = take(database16, DirectoryStore(tmp_path))

    assert all((tmp_path / part.key).exists() for part in manifest.parts)
