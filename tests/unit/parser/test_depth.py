"""How deeply a text nests, before the parser sees it."""

import pytest

from pgwindlass.parser.depth import DEEPEST, SHORTEST, too_deep

pytestmark = pytest.mark.unit
N = DEEPEST + 1


@pytest.mark.parametrize(
    "text",
    [
        "select 1" + "+1" * N,
        "select 1" + " isnull " * N,
        "select 1" + " union select 1" * N,
        "select 1, 2" + " union select 1, 2" * N,
        "select 1 from a" + " cross join a" * N,
        "select 1" + " is null between 1 and 1" * N,
        "select 1" + "+case when true then 1 end" * N,
        "select " + "(" * N + "1" + ")" * N,
        "select " + ("(" + "1+" * 50) * 200 + "1" + ")" * 200,
        "select " + "(" * 200 + "1" + (")" + "+1" * 50) * 200,
        "select E'\\''" + "+1" * N + "+'",
        "select 1 as case, " + "1+" * N + "1",
        "select (" + "1 as end +" * N,
        "select '" + "+1" * N,  # a quote without end is no quote
    ],
    ids=lambda text: text[:30],
)
def test_a_chain_that_the_parser_does_not_survive_is_found(text: str) -> None:
    assert too_deep(text) == 1


def test_it_says_the_line() -> None:
    assert too_deep("select 1;\n\nselect 1" + "+1" * N) == 3


@pytest.mark.parametrize(
    "text",
    [
        "insert into t values " + ", ".join(f"({n}, 'a''b')" for n in range(N)),
        "insert into t values " + ", ".join(f"(now(), -{n} + 1)" for n in range(N)),
        "select true" + " and a = 1" * N,
        "select true" + " or a = 1" * N,
        "select case a " + "when 1 then 'a' || 'b' else 2 " * N + "end",
        "select 1 + 1;\n" * N,
        "-- a comment\n" * N * 2,
        "/* a\n comment */\n" * N * 2,
        "do $$" + "+ 1 " * N + "$$",
        "do $body$" + "+ 1 " * N + "$$ $body$",
        "select '" + "+1" * N + "'",
        'select "' + "+1" * N + '"',
        "select E'\\'" + "+1" * N + "'",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_only_long_is_no_chain(text: str) -> None:
    assert len(text) > SHORTEST
    assert too_deep(text) == 0


def test_a_short_text_has_none() -> None:
    assert too_deep("+1" * (SHORTEST // 2 - 1)) == 0
