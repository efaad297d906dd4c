"""The revisions of a project as a graph, in an order in which they can run."""

import re

import pytest

from pgwindlass.engines.alembic.graph import Graph, Revision
from pgwindlass.errors import ConfigError, Refused

pytestmark = pytest.mark.unit


def revision(name: str, *down: str, depends: str = "", label: str = "") -> Revision:
    return Revision(
        revision=name,
        down=down,
        depends=tuple(depends.split()),
        labels=tuple(label.split()),
        message="m",
        path=f"versions/{name}.py",
    )


# aaaa1 ─ bbbb2 ─ dddd4 (head, branch red)
#       └ cccc3 ─ eeee5 (head, depends on bbbb2)
FORK = (
    revision("eeee5", "cccc3", depends="bbbb2"),
    revision("dddd4", "bbbb2", label="red"),
    revision("cccc3", "aaaa1"),
    revision("bbbb2", "aaaa1"),
    revision("aaaa1"),
)


@pytest.fixture
def graph() -> Graph:
    return Graph.of(FORK)


def test_what_a_revision_builds_on_is_said_once_and_in_order() -> None:
    assert revision("x", "c", "a", depends="b a").after == ("a", "b", "c")


def test_revisions_run_after_what_they_build_on_the_smaller_name_first(graph: Graph) -> None:
    assert list(graph.revisions) == ["aaaa1", "bbbb2", "cccc3", "dddd4", "eeee5"]
    assert graph.revisions["dddd4"] == FORK[1]
    free = Graph.of([revision("b"), revision("c"), revision("a", "b")])
    assert list(free.revisions) == ["b", "a", "c"]


def test_no_revision_is_no_graph() -> None:
    assert Graph.of([]).revisions == {}
    assert Graph.of([]).heads() == ()


def test_revisions_that_build_on_each_other_are_refused() -> None:
    circle = [revision("a", "b"), revision("b", "a"), revision("c")]

    with pytest.raises(ConfigError) as caught:
        Graph.of(circle)

    assert re.fullmatch("the revisions (a, b, a|b, a, b) build on each other", caught.value.what)
    assert caught.value.next_step == "mend down_revision or depends_on of one of them"


def test_heads_are_what_no_other_follows(graph: Graph) -> None:
    assert graph.heads() == ("dddd4", "eeee5")
    dependent = Graph.of([revision("a"), revision("b", depends="a")])
    assert dependent.heads() == ("a", "b")


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ((), set()),
        (("aaaa1",), {"aaaa1"}),
        (("dddd4",), {"aaaa1", "bbbb2", "dddd4"}),
        (("eeee5",), {"aaaa1", "bbbb2", "cccc3", "eeee5"}),
        (("cccc3", "gone"), {"aaaa1", "cccc3", "gone"}),
    ],
)
def test_what_is_applied_is_all_that_the_heads_build_on(
    graph: Graph, heads: tuple[str, ...], expected: set[str]
) -> None:
    assert graph.reached(heads) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("aaaa1", "aaaa1"),
        ("aaaa", "aaaa1"),
        ("aaa", "aaa"),  # shorter than Alembic takes
        ("zzzz", "zzzz"),
        ("heads", "heads"),
        ("red@head", "dddd4"),
        ("blue@head", "blue@head"),
    ],
)
def test_a_person_may_name_a_revision_by_its_beginning_or_its_branch(
    graph: Graph, text: str, name: str
) -> None:
    assert graph.named(text) == name


def test_the_only_head_is_named_head() -> None:
    assert Graph.of(FORK[2:4] + FORK[4:]).named("cccc3") == "cccc3"
    assert Graph.of([revision("aaaa1")]).named("head") == "aaaa1"
    assert Graph.of([]).named("head") == "head"


def test_a_label_is_of_all_that_builds_on_its_revision() -> None:
    graph = Graph.of(
        [revision("a", label="red"), revision("b", "a"), revision("c"), revision("d", "b")]
    )

    assert graph.named("red@head") == "d"


def test_the_name_head_is_refused_where_there_are_several(graph: Graph) -> None:
    with pytest.raises(Refused) as caught:
        graph.named("head")

    assert caught.value.what == "Multiple head revisions are present: dddd4, eeee5"
    assert caught.value.next_step == (
        "name one of them, or heads for all; or merge them: invoke create --merge --name "
        "merge_heads"
    )


def test_the_head_of_a_branch_is_refused_where_there_are_several() -> None:
    graph = Graph.of([revision("a", label="red"), revision("b", "a"), revision("c", "a")])

    with pytest.raises(Refused, match="Multiple head revisions are present: b, c"):
        graph.named("red@head")


def test_a_beginning_of_several_names_is_refused() -> None:
    graph = Graph.of([revision("abcd1"), revision("abcd2")])

    with pytest.raises(Refused) as caught:
        graph.named("abcd")

    assert caught.value.what == '"abcd" could be abcd1, abcd2'
    assert caught.value.next_step == "name the revision in full"


@pytest.mark.parametrize(
    ("applied", "heads"),
    [
        ((), ()),
        (("aaaa1",), ("aaaa1",)),
        (("aaaa1", "bbbb2", "cccc3"), ("bbbb2", "cccc3")),
        (("aaaa1", "bbbb2", "cccc3", "eeee5"), ("eeee5",)),
        (("aaaa1", "bbbb2", "no-file"), ("bbbb2", "no-file")),
    ],
)
def test_the_heads_of_a_database_are_what_nothing_applied_builds_on(
    graph: Graph, applied: tuple[str, ...], heads: tuple[str, ...]
) -> None:
    assert graph.maximal(applied) == heads
    assert graph.reached(heads) == frozenset(applied)
