"""What GitHub's runner reads of a log, and how a text is kept from being a command."""

import pytest

from pgwindlass.errors import Place
from pgwindlass.report.runner_commands import (
    AT_MOST,
    LONGEST,
    Annotation,
    annotations,
    harmless,
    harmless_json,
    in_repository,
    lines_of,
    masks,
    of_failure,
    of_finding,
    output,
    uri,
    workflow_command,
)
from pgwindlass.secret import Secret
from tests.unit.examples import finding

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("data", "properties", "line"),
    [
        ("m", {}, "::error::m"),
        ("m", {"file": "", "line": 0, "title": ""}, "::error::m"),
        ("m", {"file": "a.sql", "line": 3}, "::error file=a.sql,line=3::m"),
        (
            "a%\r\n::b",
            {"file": "x:y,z%\r\n", "line": 3},
            "::error file=x%3Ay%2Cz%25%0D%0A,line=3::a%25%0D%0A::b",
        ),
    ],
)
def test_a_command_is_escaped_as_documented(
    data: str, properties: dict[str, str | int], line: str
) -> None:
    assert workflow_command("error", data, **properties) == line


def test_a_command_may_have_no_data() -> None:
    assert workflow_command("endgroup") == "::endgroup::"


def test_no_secret_is_in_a_command() -> None:
    Secret("command-secret-1")

    assert workflow_command("error", "no command-secret-1", title="command-secret-1") == (
        "::error title=***::no ***"
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("::error::x", ": :error::x"),
        ("\t ::error::x", "\t : :error::x"),
        ("\u00a0::error::x", "\u00a0: :error::x"),
        ("\x01::error::x", ": :error::x"),
        ("\u200b::error::x", ": :error::x"),
        (":\u200b:error::x", ": :error::x"),
        ("in ##[error]x ##[y]", "in ## [error]x ## [y]"),
        ("###[error]x", "### [error]x"),
        ("#\u00ad#[error]x", "## [error]x"),
        ("::a ##[b]", ": :a ## [b]"),
    ],
)
def test_a_line_that_would_be_a_command_gets_a_blank(line: str, shown: str) -> None:
    assert harmless(line) == shown


@pytest.mark.parametrize(
    "line", ["", "a::b ❤\ufe0f # [x]", "\u200ba", "\x01 : :x", ": :", "# #[x]", "  indented"]
)
def test_a_line_that_is_no_command_stays_as_it_is(line: str) -> None:
    assert harmless(line) == line


def test_a_carriage_return_ends_a_line_too() -> None:
    assert lines_of("a\r\nb\rc\nd\n") == ["a", "b", "c", "d", ""]


def test_json_without_a_command_is_the_same_document() -> None:
    assert harmless_json('{"a": "##[error] ##[x]"}') == ('{"a": "#\\u0023[error] #\\u0023[x]"}')


def test_annotations_are_commands_by_kind() -> None:
    given = (
        Annotation("notice", "t3", "m3"),
        Annotation("warning", "t2", "m2", "a.sql", 2),
        Annotation("error", "t1", "m1", "b.sql"),
    )

    assert annotations(given) == (
        "::error file=b.sql,title=t1::m1",
        "::warning file=a.sql,line=2,title=t2::m2",
        "::notice title=t3::m3",
    )


@pytest.mark.parametrize(("count", "shown", "left"), [(10, 10, 0), (11, 9, 2), (200, 9, 191)])
def test_annotations_stay_within_the_limit_and_say_how_many_are_left_out(
    count: int, shown: int, left: int
) -> None:
    many = [Annotation("error", "t", f"m{number}") for number in range(count)]

    lines = annotations([*many, Annotation("notice", "t", "n")])

    assert lines[:shown] == tuple(f"::error title=t::m{number}" for number in range(shown))
    expected = (
        f"::error title={left} more::{left} more are left out here: GitHub shows {AT_MOST} of "
        "a kind for a step; the log has them all",
    )
    assert lines[shown:] == (*(expected if left else ()), "::notice title=t::n")


def test_the_beginning_of_a_long_message_is_shown_without_secrets() -> None:
    Secret("annotation-secret-1")
    message = f"annotation-secret-1{'x' * 2 * LONGEST}"

    (line,) = annotations([Annotation("error", "t", message)])

    assert line == f"::error title=t::***{'x' * (LONGEST - 3)}"


@pytest.mark.parametrize(
    ("level", "kind"),
    [("error", "error"), ("unknown", "warning"), ("warning", "warning"), ("note", "notice")],
)
def test_a_finding_is_an_annotation_of_its_kind(level: str, kind: str) -> None:
    assert of_finding(finding(level=level), "back") == (
        kind,
        "add-serial",
        "writes",
        "back/migrations/a.sql",
        3,
    )


@pytest.mark.parametrize(
    ("place", "file", "line"),
    [
        (Place("db/a.sql", 12), "back/db/a.sql", 12),
        (Place("db/a.sql"), "back/db/a.sql", 0),
        (Place("/etc/a.sql", 1), "/etc/a.sql", 1),
    ],
)
def test_an_error_is_at_its_place(place: Place, file: str, line: int) -> None:
    shown = of_failure("see b.sql:3: syntax error", "mend it", place, "back")

    assert shown == (
        "error",
        "Windlass",
        "see b.sql:3: syntax error\nnext: mend it",
        file,
        line,
    )


def test_an_error_without_a_place_is_on_the_run_whatever_its_text_names() -> None:
    shown = of_failure("db/a.sql:12: syntax error", "mend it", None, "back")

    assert shown == ("error", "Windlass", "db/a.sql:12: syntax error\nnext: mend it", "", 0)


@pytest.mark.parametrize(
    ("file", "prefix", "path"),
    [
        ("m/a.sql", "", "m/a.sql"),
        ("m/a.sql", "back", "back/m/a.sql"),
        ("/m/a.sql", "back", "/m/a.sql"),
    ],
)
def test_a_path_is_told_from_the_root_of_the_repository(file: str, prefix: str, path: str) -> None:
    assert in_repository(file, prefix) == path


def test_a_path_is_a_uri_reference() -> None:
    assert uri("back end/m/é.sql") == "back%20end/m/%C3%A9.sql"


def test_an_output_ends_with_its_delimiter() -> None:
    assert output("digest", "a\nb", "EOF-1") == "digest<<EOF-1\na\nb\nEOF-1\n"


def test_each_line_of_a_value_is_masked_once() -> None:
    assert masks(["b%b\n  abc  \r\nxy", "abc"], 3) == ("::add-mask::abc", "::add-mask::b%25b")
