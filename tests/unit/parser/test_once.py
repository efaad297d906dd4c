"""Each file is parsed once, by its path and its text."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError, Place
from pgwindlass.parser.file import parse
from pgwindlass.parser.once import Parser

pytestmark = pytest.mark.unit

PATH = Path("db/a.sql")
TEXT = "-- windlass: phase=after\nselect 1;\n"


def test_a_file_is_what_the_parser_of_files_says() -> None:
    assert Parser().parse(PATH, TEXT) == parse(PATH, TEXT)


def test_a_file_is_parsed_once() -> None:
    parser = Parser()

    assert parser.parse(PATH, TEXT) is parser.parse(Path("db/a.sql"), TEXT)


def test_another_text_is_another_file() -> None:
    parser = Parser()
    before = parser.parse(PATH, TEXT)

    after = parser.parse(PATH, "select 2;\n")

    assert (before.text, after.text) == (TEXT, "select 2;\n")
    assert parser.parse(PATH, TEXT) is before


def test_another_path_is_another_file() -> None:
    parser = Parser()
    a = parser.parse(PATH, TEXT)

    b = parser.parse(Path("db/b.sql"), TEXT)

    assert (a.path, b.path) == (PATH, Path("db/b.sql"))


def test_a_file_that_is_wrong_is_refused_each_time() -> None:
    parser = Parser()

    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            parser.parse(PATH, "select 1;\nselect from from;\n")
        assert caught.value.place == Place("db/a.sql", 2)
