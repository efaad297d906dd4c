"""Strict YAML with the line of every value."""

from pathlib import Path

import pytest

from pgwindlass.config.yamlfile import DEEPEST, VALUES, Data, YamlFile, read_yaml
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


def nested(depth: int) -> str:
    return "a:\n- 1\nb: " + "[" * depth + "1" + "]" * depth + "\n"


def test_forty_brackets_may_be_in_one_another_and_no_more(tmp_path: Path) -> None:
    # The mapping is the first of them, and the number the last.
    assert parsed(tmp_path, nested(DEEPEST - 2)).where(("b", 0)).line == 3

    error = refusal(tmp_path, nested(DEEPEST - 1))

    assert error.what == (
        f"{tmp_path}/deploy.yml:3: not valid YAML: more than 40 mappings and lists in one another"
    )
    assert error.next_step == "mend the line; indentation is two spaces"


def test_lists_side_by_side_are_not_in_one_another(tmp_path: Path) -> None:
    side_by_side = "".join(f"k{number}: [[[1]]]\n" for number in range(DEEPEST))

    data = parsed(tmp_path, side_by_side).data

    assert isinstance(data, dict)
    assert len(data) == DEEPEST


def test_an_alias_inside_what_it_stands_for_is_refused_with_its_line(tmp_path: Path) -> None:
    error = refusal(tmp_path, "x: 1\na: &a\n  - *a\n")

    assert error.what == (
        f"{tmp_path}/deploy.yml:2: more than 40 mappings and lists in one another"
    )
    assert error.next_step == "take the alias to what it is in out"


def test_aliases_may_not_make_more_than_twenty_thousand_values(tmp_path: Path) -> None:
    # The mapping, the first list and what is in it, the list of lists, and each of them.
    each, lists = 99, VALUES // 100 - 2
    row = "[" + ",".join("1" * each) + "]"
    text = f"first: &r {row}\nrest: [{', '.join(['*r'] * lists)}]\n"
    count = 1 + 1 + each + 1 + lists * (each + 1)
    filling = "".join(f"f{number}: 1\n" for number in range(VALUES - count))
    assert isinstance(parsed(tmp_path, text + filling).data, dict)

    error = refusal(tmp_path, text + filling + "\none_more: 1\n")

    line = (text + filling).count("\n") + 2
    assert error.what == f"{tmp_path}/deploy.yml:{line}: more than 20000 values"
    assert error.next_step == "write fewer, or fewer aliases"


@pytest.mark.parametrize(
    ("value", "problem", "next_step"),
    [
        (
            "!!python/name:os.system x",
            "the tag tag:yaml.org,2002:python/name:os.system is not read here",
            "write plain text, numbers and mappings",
        ),
        ("!!int x", "no int: invalid literal for int() with base 10: 'x'", "write another value"),
        ("1" + "0" * 400 + ".5", "a number without end", "write another value"),
        ("{[1]: 2}", "a key that is no text", "write a name before the colon"),
    ],
)
def test_a_value_that_is_not_read_is_named_with_its_line(
    tmp_path: Path, value: str, problem: str, next_step: str
) -> None:
    error = refusal(tmp_path, f"a: 1\nb: {value}\n")

    assert error.what == f"{tmp_path}/deploy.yml:2: {problem}"
    assert error.next_step == next_step


def test_a_character_that_yaml_does_not_allow_is_named_with_its_line(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a: 1\nb: \x01\n")

    assert error.what == f"{tmp_path}/deploy.yml:2: not valid YAML: the character U+0001"
