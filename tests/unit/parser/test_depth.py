"""How deeply a text nests, before the parser sees it."""

from collections.abc import Callable

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


def words(n: int) -> str:
    return "x " * n


# Texts of which each has exactly the depth that is asked for, where it is deepest.
EXACT = {
    "words": words,
    "words and signs": lambda n: "x+" * (n // 2) + "x " * (n % 2),
    "words behind a semicolon": lambda n: f"{words(6000)}; {words(n)}",
    "words behind a comma": lambda n: f"{words(6000)}, {words(n)}",
    "words behind an AND": lambda n: f"{words(6000)} and {words(n)}",
    "words behind an ELSE": lambda n: f"{words(6000)} else {words(n)}",
    "words behind a comment": lambda n: f"{words(6)} -- x y z\n /* x\ny */ {words(n - 6)}",
    "texts": lambda n: "'x' " * n,
    "BETWEENs in BETWEENs": lambda n: (
        "between between and and " * ((n - 4) // 4) + words(4 + (n - 4) % 4)
    ),
    "brackets": lambda n: "(" * (n - 1) + "+" + ")" * (n - 1),
    "square brackets": lambda n: "[" * (n - 1) + "x" + "]" * (n - 1),
    "CASEs": lambda n: "case " * (n - 1) + "x" + " end" * (n - 1),
    "words in brackets behind words": lambda n: f"{words(3000)} ( {words(n - 3001)} )",
    "words behind brackets": lambda n: f"{words(3000)} ( + {words(99)} ) {words(n - 3101)}",
    "words behind a longest part": lambda n: f"( {words(99)}, + ) {words(n - 100)}",
    "brackets behind brackets": lambda n: f"( + ( + ) ) ( ( {words(n - 6)} ) )",
    "sets": lambda n: f"x {'union ' * (n - 1)}",
    "sets and commas": lambda n: "x union, " * (n - 1),
    "joins in brackets": lambda n: f"( x {'join, ' * 3000} ) {words(n - 3002)}",
    "words behind sets of before": lambda n: f"{'x except, ' * 6000}; {words(n)}",
    "ends of nothing": lambda n: "end " * n,
}


@pytest.mark.parametrize("text", EXACT.values(), ids=EXACT)
def test_the_limit_is_exact(text: Callable[[int], str]) -> None:
    room = " " * SHORTEST

    assert too_deep(room + text(DEEPEST)) == 0
    assert too_deep(room + text(DEEPEST + 1)) > 0


def test_after_a_between_an_and_separates_again() -> None:
    assert too_deep("select 1" + " between 1 and 2 and 3" * N) == 0


def test_a_text_of_the_least_length_is_looked_at() -> None:
    assert too_deep("(" * SHORTEST) == 1
