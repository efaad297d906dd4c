"""Names and texts in SQL that a person runs: what is hostile in one stays in it."""

import pytest

from pgwindlass.plan.quoting import block, ident, literal

pytestmark = pytest.mark.unit

NAMES = (
    "a'; drop table t; --",
    'a"; drop table t; --',
    "\\'; drop table t; --",
    "''",
    '""',
    "\\",
    "a\nb",
    "$windlass$; drop table t; $windlass$",
    "$windlass1$ $windlass$",
    "é\u2028",
)


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        (("public",), "public"),
        (("windlass", "deployment"), 'windlass."deployment"'),
        (("user",), '"user"'),
        (("pg_read_all_data",), "pg_read_all_data"),
        (("pg_x; drop",), '"pg_x; drop"'),
        (('a"b',), '"a""b"'),
    ],
)
def test_a_name_is_quoted_where_it_must_be(parts: tuple[str, ...], written: str) -> None:
    assert ident(*parts) == written


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        ident(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_quoted_name_ends_where_it_ends(name: str) -> None:
    written = ident(name)

    assert written == name or written[1:-1].replace('""', "") == name.replace('"', "")
    if written != name:
        assert '"' not in written[1:-1].replace('""', "")


@pytest.mark.parametrize("text", NAMES)
def test_a_literal_ends_where_it_ends(text: str) -> None:
    written = literal(text).strip().removeprefix("E")

    assert "'" not in written[1:-1].replace("''", "")
    if "\\" in text:
        assert "\\" not in written.replace("\\\\", "")


@pytest.mark.parametrize("text", NAMES)
def test_no_text_ends_a_block_early(text: str) -> None:
    written = block(text)
    tag = written.split(" ")[1]

    assert written.count(tag) == 2


def test_a_block_has_another_tag_where_the_text_has_ours() -> None:
    assert block("a$windlass$b$windlass1$").startswith("do $windlass2$ ")


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("plain", "'plain'"),
        ("it's", "'it''s'"),
        ("a\\b", " E'a\\\\b'"),
        ("it's \\", " E'it''s \\\\'"),
        ("", "''"),
    ],
)
def test_a_text_is_one_constant_whatever_is_in_it(text: str, constant: str) -> None:
    assert literal(text) == constant


def test_a_block_ends_at_its_own_tag_alone() -> None:
    assert block("begin end") == "do $windlass$ begin end\n$windlass$"
    assert block("'$windlass$'").endswith("\n$windlass1$")
    assert block("'$windlass$ $windlass1$'").endswith("\n$windlass2$")
