"""What a manifest may say of itself, and what a backup's folder may be called."""

from typing import Any

import msgspec
import pytest

from pgwindlass.backup.contents import complaint, is_place
from pgwindlass.model import Part
from tests.unit.examples import manifest

pytestmark = pytest.mark.unit

PLACE = "uat/app/20260803T101500Z-d1/"
PART = Part(key=f"{PLACE}dump.pgc", size=3 << 20, sha256="a" * 64)
MIB = 1 << 20


def said(*parts: Part, **more: Any) -> str:
    given = {"key": PLACE, "environment": "uat", "parts": parts or (PART,)} | more
    return complaint(msgspec.structs.replace(manifest(), **given), PLACE)


@pytest.mark.parametrize("place", [PLACE, "a/b/c/", "a-1/b%2Fc/d~e_f.g/", "uat/%C3%A9/1/"])
def test_a_place_is_three_plain_elements(place: str) -> None:
    assert is_place(place)


@pytest.mark.parametrize(
    "place",
    ["", "/", "a/b/", "a/b/c", "a/b/c/d/", "a//c/", "a/../c/", "a/b/./", "A/b/c/", "a/b/c\n/",
     "a/b c/d/", "a/é/c/", "../b/c/", "a/b/c/\n"],
)  # fmt: skip
def test_anything_else_is_none(place: str) -> None:
    assert not is_place(place)


def test_a_manifest_of_its_own_folder_is_well() -> None:
    assert said() == ""
    assert said(PART, msgspec.structs.replace(PART, key=f"{PLACE}globals.sql.age")) == ""


def test_another_place_or_environment_is_told() -> None:
    assert said(key="uat/app/2/") == "it describes uat/app/2/"
    assert said(key="uat\n/app/2/") == "it describes 'uat\\n/app/2/'"
    assert said(environment="production") == "it is of the environment 'production'"


def test_no_part_and_one_twice_are_told() -> None:
    assert said(PART, PART) == "it names no part, or one twice"
    assert said(parts=()) == "it names no part, or one twice"


@pytest.mark.parametrize(
    "key", ["", "dump.pgc", PLACE, f"{PLACE}a/b", f"{PLACE}.x", f"{PLACE}../x"]
)
def test_a_part_elsewhere_is_told(key: str) -> None:
    part = msgspec.structs.replace(PART, key=key)

    assert said(part) == f"its part {key!r} is not a file of its own folder"


@pytest.mark.parametrize("change", [{"size": -1}, {"sha256": "a" * 63}, {"sha256": "A" * 64}])
def test_a_size_or_hash_that_cannot_be_is_told(change: dict[str, Any]) -> None:
    assert "has no size and SHA-256 that could be" in said(msgspec.structs.replace(PART, **change))


@pytest.mark.parametrize(
    ("every", "count", "well"),
    [
        (0, 0, True),
        (0, 1, False),
        (MIB, 3, True),
        (MIB, 2, False),
        (MIB, 4, False),
        (MIB - 1, 3, False),
        (16 * MIB, 0, True),
        (16 * MIB + 1, 0, False),
    ],
)
def test_checkpoints_cover_their_part(every: int, count: int, well: bool) -> None:
    part = msgspec.structs.replace(PART, every=every, checkpoints=("b" * 64,) * count)

    assert (said(part) == "") is well
