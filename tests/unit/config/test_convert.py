"""Data of a YAML file as typed structs: every mistake with its line, its path and its repair."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from pgwindlass.config.convert import convert, expand, nearest, needed, values_of
from pgwindlass.config.yamlfile import YamlFile
from pgwindlass.errors import ConfigError
from pgwindlass.model import StepName

pytestmark = pytest.mark.unit


class Cat(msgspec.Struct, frozen=True, tag="cat", tag_field="is", forbid_unknown_fields=True):
    lives: int = 9


class Dog(msgspec.Struct, frozen=True, tag="dog", tag_field="is", forbid_unknown_fields=True):
    breed: str
    barks: bool = True


class Yard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    gate: str = ""
    pet: Cat | Dog | None = None


class House(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    pets: tuple[Cat | Dog, ...] = ()
    guard: Cat | Dog | None = None
    colour: Literal["red", "green", "blue"] = "red"
    rooms: dict[str, int] = {}
    steps: dict[StepName, Literal["on", "off"]] = {}
    size: complex | None = None
    yard: Yard | None = None
    mood: Literal["calm", "wild"] | None = None
    herd: tuple[Cat | Dog, ...] | None = None
    kennel: dict[str, Dog] = {}


LINES: dict[tuple[str | int, ...], int] = {
    (): 1,
    ("house",): 3,
    ("house", "pets"): 4,
    ("house", "pets", 1): 5,
    ("house", "pets", 1, "breeed"): 6,
}
FILE = YamlFile(Path("d.yml"), {}, LINES)
KNOWN = "known here: name, pets, guard, colour, rooms, steps, size, yard, mood, herd, kennel"


def decode(kind: type, value: object) -> object:
    if kind is complex and value != "wrong":
        return complex(str(value))
    raise ValueError(f"{value} is no number")


def house(data: dict[str, Any], **variables: str) -> House:
    return convert(FILE, ("house",), data, House, variables, decode=decode)


def mistake(data: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        house(data)
    assert caught.value.__suppress_context__
    return caught.value.what, caught.value.next_step


def test_data_becomes_a_struct() -> None:
    data = {"name": "a", "pets": [{"is": "cat"}, {"is": "dog", "breed": "${B}"}], "size": "1j"}

    assert house(data, B="pug") == House(name="a", pets=(Cat(), Dog(breed="pug")), size=1j)


@pytest.mark.parametrize(
    ("data", "what", "next_step"),
    [
        ({}, 'd.yml:3: house: the key "name" is missing', KNOWN),
        (
            {"name": "a", "colur": "red"},
            'd.yml:3: house.colur: unknown key; did you mean "colour"?',
            KNOWN,
        ),
        ({"name": "a", "zzz": 1}, "d.yml:3: house.zzz: unknown key", KNOWN),
        ({"name": 1}, "d.yml:3: house.name: Expected str, got int", "mend the line"),
        (
            {"name": "a", "colour": "gren"},
            "d.yml:3: house.colour: Invalid enum value 'gren'; did you mean \"green\"?",
            "expected one of: blue, green, red",
        ),
        (
            {"name": "a", "colour": "zzz"},
            "d.yml:3: house.colour: Invalid enum value 'zzz'",
            "expected one of: blue, green, red",
        ),
        (
            {"name": "a", "pets": [{"is": "cat"}, {"is": "dog", "breeed": "x"}]},
            'd.yml:6: house.pets.1.breeed: unknown key; did you mean "breed"?',
            "known here: breed, barks",
        ),
        (
            {"name": "a", "pets": [{"is": "cat"}, {"is": "dog"}]},
            'd.yml:5: house.pets.1: the key "breed" is missing',
            "known here: breed, barks",
        ),
        (
            {"name": "a", "pets": [{"is": "cat"}, {"is": "dgo"}]},
            "d.yml:5: house.pets.1.is: Invalid value 'dgo'; did you mean \"dog\"?",
            "expected one of: cat, dog",
        ),
        (
            {"name": "a", "guard": {"is": "cat", "live": 3}},
            'd.yml:3: house.guard.live: unknown key; did you mean "lives"?',
            "known here: lives",
        ),
        (
            {"name": "a", "guard": {"is": "cow"}},
            "d.yml:3: house.guard.is: Invalid value 'cow'",
            "expected one of: cat, dog",
        ),
        (
            {"name": "a", "guard": "cat"},
            "d.yml:3: house.guard: Expected object | null, got str",
            "mend the line",
        ),
        (
            {"name": "a", "yard": {"gat": "x"}},
            'd.yml:3: house.yard.gat: unknown key; did you mean "gate"?',
            "known here: gate, pet",
        ),
        (
            {"name": "a", "yard": {"pet": {"is": "dog"}}},
            'd.yml:3: house.yard.pet: the key "breed" is missing',
            "known here: breed, barks",
        ),
        (
            {"name": "a", "mood": "cal"},
            "d.yml:3: house.mood: Invalid enum value 'cal'; did you mean \"calm\"?",
            "expected one of: calm, wild",
        ),
        (
            {"name": "a", "herd": [{"is": "cat"}, {"is": "dog"}]},
            'd.yml:3: house.herd.1: the key "breed" is missing',
            "known here: breed, barks",
        ),
        (
            {"name": "a", "kennel": {"x": {"is": "dog", "breed": 7}}},
            "d.yml:3: house.kennel.breed: Expected str, got int",
            "mend the line",
        ),
        (
            {"name": "a", "kennel": {"x": {"is": "dog", "bred": "pug"}}},
            'd.yml:3: house.kennel.bred: unknown key; did you mean "breed"?',
            "known here: breed, barks",
        ),
        (
            {"name": "a", "rooms": {"hall": "x"}},
            "d.yml:3: house.rooms: Expected int, got str",
            "mend the line",
        ),
        (
            {"name": "a", "steps": {"lock": "of"}},
            "d.yml:3: house.steps: Invalid enum value 'of'; did you mean \"off\"?",
            "expected one of: off, on",
        ),
        (
            {"name": "a", "size": "wrong"},
            "d.yml:3: house.size: wrong is no number",
            "mend the line",
        ),
        (
            {"name": "a", "pets": 7},
            "d.yml:4: house.pets: Expected array, got int",
            "mend the line",
        ),
    ],
)
def test_a_mistake_has_its_line_its_path_and_what_is_known(
    data: dict[str, Any], what: str, next_step: str
) -> None:
    assert mistake(data) == (what, next_step)


def test_an_unknown_key_of_a_mapping_with_known_keys_lists_them() -> None:
    what, next_step = mistake({"name": "a", "steps": {"lok": "on"}})

    assert what == "d.yml:3: house.steps: Invalid enum value 'lok'; did you mean \"lock\"?"
    assert next_step == f"expected one of: {', '.join(StepName)}"


def test_a_mistake_at_the_top_has_no_path() -> None:
    with pytest.raises(ConfigError) as caught:
        convert(FILE, (), [], House, {}, decode=decode)

    assert caught.value.what == "d.yml:1: top level: Expected object, got array"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("${A}", "1"),
        ("x${A}y${B}", "x1y2"),
        ("${C:-3}", "3"),
        ("${C:-}", ""),
        ("${A:-3}", "1"),
        ("${EMPTY:-3}", "3"),
        ("$A ${}", "$A ${}"),
        (["${A}", {"k": "${B}"}], ["1", {"k": "2"}]),
        ({"${A}": "${A}"}, {"${A}": "1"}),
        (7, 7),
        (None, None),
    ],
)
def test_variables_are_replaced_in_values(data: Any, expected: Any) -> None:
    assert expand(FILE, (), data, {"A": "1", "B": "2", "EMPTY": ""}) == expected


@pytest.mark.parametrize("variables", [{}, {"A_1": ""}])
def test_a_variable_that_is_not_set_is_refused_with_its_place(variables: dict[str, str]) -> None:
    data: Any = {"pets": ["x", {"breeed": "${A_1}"}]}

    with pytest.raises(ConfigError) as caught:
        expand(FILE, ("house",), data, variables)

    assert caught.value.what == "d.yml:6: house.pets.1.breeed: the variable A_1 is not set"
    assert caught.value.next_step == "export A_1=…, or write ${A_1:-default}"


def test_what_is_needed_are_the_variables_without_a_default() -> None:
    data: Any = {"a": "${A} ${B:-1}", "b": ["${C}", 7, None, {"d": "${D}"}], "e": "no"}

    assert needed(data) == ["A", "C", "D"]
    assert needed(7) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gren", '; did you mean "green"?'), ("gree", '; did you mean "green"?'), ("xyz", "")],
)
def test_the_nearest_name_is_asked_for(name: str, expected: str) -> None:
    assert nearest(name, ("red", "green", "greet me")) == expected


def test_a_name_is_near_where_half_of_it_is_alike() -> None:
    assert nearest("abxx", ["abyy"]) == '; did you mean "abyy"?'
    assert nearest("axxx", ["abyy"]) == ""
    assert nearest("ab", iter(["abc", "abd"])) == '; did you mean "abd"?'


def test_a_variable_that_is_not_set_is_refused_before_anything_is_converted() -> None:
    with pytest.raises(ConfigError) as caught:
        house({"name": "${MISSING}"})

    assert caught.value.what == "d.yml:3: house.name: the variable MISSING is not set"


def test_the_values_of_variables_are_found_at_every_depth_with_their_defaults() -> None:
    data: Any = {"a": ["${X} and ${Y:-y}", {"b": "${Z:-}"}], "c": 7, "d": "$X"}

    assert values_of(data, {"X": "x", "Z": "z", "OTHER": "o"}) == {"X": "x", "Y": "y", "Z": "z"}


SHORT = {"SHOP_PASSWORD": "abc"}


def of_environment(tier: str) -> YamlFile:
    data: Any = {
        "environments": {"uat": {"tier": tier, "host": "${SHOP_PASSWORD}"}},
        "x": {"uat": {}},
    }
    return YamlFile(Path("deploy.yml"), data, {("environments", "uat", "host"): 7})


@pytest.mark.parametrize("tier", ["acceptance", "production"])
def test_above_development_a_secret_that_is_too_short_is_refused_with_its_line(tier: str) -> None:
    with pytest.raises(ConfigError, match=r"deploy\.yml:7: environments\.uat\.host: the secret in"):
        expand(of_environment(tier), ("environments", "uat", "host"), "${SHOP_PASSWORD}", SHORT)


@pytest.mark.parametrize(
    ("tier", "at"),
    [
        ("development", ("environments", "uat", "host")),
        ("production", ("environments", "other", "host")),
        ("production", ("environments",)),
        ("production", ("x", "uat", "host")),
        ("production", ("backups", "to")),
        ("production", ()),
    ],
)
def test_elsewhere_a_short_secret_is_taken(tier: str, at: tuple[str, ...]) -> None:
    assert expand(of_environment(tier), at, "${SHOP_PASSWORD}", SHORT) == "abc"


@pytest.mark.parametrize("data", [[], "text", {"environments": []}, {}])
def test_what_is_no_file_of_environments_has_no_tier(data: Any) -> None:
    file = YamlFile(Path("deploy.yml"), data, {})

    assert expand(file, ("environments", "uat", "host"), "${SHOP_PASSWORD}", SHORT) == "abc"
