"""Strict YAML with the line of every value."""

from pathlib import Path

import pytest

from pgwindlass.config.yamlfile import Data, YamlFile, read_yaml
from pgwindlass.errors import ConfigError, Place

pytestmark = pytest.mark.unit


def parsed(directory: Path, text: str) -> YamlFile:
    path = directory / "deploy.yml"
    path.write_text(text)
    return read_yaml(path)


def refusal(directory: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(directory, text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("no", "no"),
        ("off", "off"),
        ("~", None),
        ("null", None),
        ("", None),
        ("0", 0),
        ("22", 22),
        ("-7", -7),
        ("022", "022"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0.5", 0.5),
        ("-0.5", -0.5),
        ("1.", "1."),
        (".5", ".5"),
        ("1e3", "1e3"),
        ("2026-11-20", "2026-11-20"),
        ("'5'", "5"),
        ("[1, a]", [1, "a"]),
        ("{b: 1}", {"b": 1}),
    ],
)
def test_a_value_is_what_yaml_1_2_says(tmp_path: Path, text: str, value: Data) -> None:
    assert parsed(tmp_path, f"a: {text}\n").data == {"a": value}


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    file = parsed(tmp_path, "# nothing\n")

    assert file.data == {}
    assert file.where(("project",)) == Place(f"{tmp_path}/deploy.yml", 1)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert parsed(tmp_path, "\ufeffa: é\n").data == {"a": "é"}


def test_every_key_and_item_has_its_line(tmp_path: Path) -> None:
    file = parsed(tmp_path, "# c\na:\n  b:\n    - x\n    - {c: 1,\n       d: 2}\ne: 1\n")

    assert file.lines == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "b", 0): 4,
        ("a", "b", 1): 5,
        ("a", "b", 1, "c"): 5,
        ("a", "b", 1, "d"): 6,
        ("e",): 7,
    }
    assert file.where(("a", "b", 1, "d")) == Place(f"{tmp_path}/deploy.yml", 6)
    assert file.where(("a", "b", 7)) == Place(f"{tmp_path}/deploy.yml", 3)
    assert file.where(("a", "b", 7, "z")) == Place(f"{tmp_path}/deploy.yml", 3)
    assert file.where(("z",)) == Place(f"{tmp_path}/deploy.yml", 2)


def test_what_is_merged_in_gives_way_to_what_is_written(tmp_path: Path) -> None:
    text = "base: &b {x: 1, y: 1, z: 1}\nother: &o {y: 2, w: 2}\nuat:\n  <<: *b\n  z: 3\n"

    assert parsed(tmp_path, text).data == {
        "base": {"x": 1, "y": 1, "z": 1},
        "other": {"y": 2, "w": 2},
        "uat": {"x": 1, "y": 1, "z": 3},
    }


def test_of_several_that_are_merged_the_first_counts(tmp_path: Path) -> None:
    text = "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc:\n  y: 3\n  <<: [*a, *b]\nd: {<<: [*b, *a]}\n"

    data = parsed(tmp_path, text).data

    assert isinstance(data, dict)
    assert data["c"] == {"x": 1, "y": 3}
    assert data["d"] == {"x": 2, "y": 2}


def test_the_last_of_several_merges_counts(tmp_path: Path) -> None:
    text = "a: &a {x: 1, z: 1}\nb: &b {x: 2}\nc:\n  <<: *a\n  <<: *b\n"

    data = parsed(tmp_path, text).data

    assert isinstance(data, dict)
    assert data["c"] == {"x": 2, "z": 1}


def test_what_is_no_mapping_cannot_be_merged(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a: &a [1]\nb:\n  <<: *a\n")

    assert error.what == f"{tmp_path}/deploy.yml:1: << needs a mapping to merge"
    assert error.next_step == "point it at an anchored mapping: <<: *name"


def test_a_key_may_stand_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a:\n  b: 1\n  c: 2\n  b: 3\n")

    assert error.what == f'{tmp_path}/deploy.yml:4: key "b" is written twice'
    assert error.next_step == "keep one of the two; YAML would silently take the last"


def test_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a: 1\nb: [1\nc: 2\n")

    assert error.what == (
        f"{tmp_path}/deploy.yml:3: not valid YAML: expected ',' or ']', but got ':'"
    )
    assert error.next_step == "mend the line; indentation is two spaces"


@pytest.mark.parametrize(
    "make", [lambda _: None, lambda path: path.write_bytes(b"\xff"), lambda path: path.mkdir()]
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, make: object) -> None:
    path = tmp_path / "deploy.yml"
    assert callable(make)
    make(path)

    with pytest.raises(ConfigError) as caught:
        read_yaml(path)

    assert caught.value.what.startswith(f"{path} cannot be read: ")
    assert caught.value.what != f"{path} cannot be read: None"
    assert caught.value.next_step == (
        "run in the directory of deploy.yml, or write one; docs/configuration.md shows every key"
    )
