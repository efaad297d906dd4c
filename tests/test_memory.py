"""Where the tests keep their temporary files: in memory where there is enough, else as ever."""

from pathlib import Path

import pytest

from tests import memory

pytestmark = pytest.mark.unit


def test_a_place_with_room_is_taken(tmp_path: Path) -> None:
    assert memory.directory(tmp_path, room=1) == str(tmp_path)


def test_a_place_without_room_is_not(tmp_path: Path) -> None:
    assert memory.directory(tmp_path, room=1 << 60) == ""


def test_a_place_that_is_not_there_is_not(tmp_path: Path) -> None:
    assert memory.directory(tmp_path / "none", room=1) == ""
