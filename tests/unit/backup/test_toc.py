"""An archive's table of contents: kept while it passes, compared, and filtered. No pg_restore."""

import pytest

from pgwindlass.backup.toc import Head, entries, only_rows_of, require_whole
from pgwindlass.errors import StepFailed

pytestmark = pytest.mark.unit

T, U, SPACED = ("public", "t"), ("public", "u"), ("public", "t x")
LINES = (
    "1; 1259 16385 TABLE public t owner",
    "2; 0 16385 TABLE DATA public t owner",
    "3; 0 16386 TABLE DATA public u owner",
    "4; 0 16387 TABLE DATA public t x owner",
    "5; 2606 16390 FK CONSTRAINT public t t_fk owner",
    "6; 2606 16391 FK CONSTRAINT public u u_fk owner",
    "7; 0 16392 MATERIALIZED VIEW DATA public m owner",
    "8; 0 0 BLOBS - BLOBS",
    "9; 0 0",
)


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 6, 100])
def test_the_head_of_a_stream_is_kept_while_it_passes(limit: int) -> None:
    head, chunks = Head(limit), [b"ab", b"cde", b"f"]

    assert list(head.passing(chunks)) == chunks
    assert bytes(head.content) == b"abcdef"[:limit]


def test_entries_are_told_without_their_numbers() -> None:
    assert entries(["1; 1259 1 TABLE public t o", "2; 0 0 ; x"]) == {
        " 1259 1 TABLE public t o",
        " 0 0 ; x",
    }


def test_parts_that_hold_everything_are_whole() -> None:
    require_whole(frozenset("ab"), frozenset("ab"))


def test_what_is_missing_and_what_is_extra_is_told() -> None:
    with pytest.raises(StepFailed) as caught:
        require_whole(frozenset({" b ", "x"}), frozenset({" b ", " c", "a "}))

    assert caught.value.what == (
        "the parts of the backup are not the whole database: 2 missing: c; a; "
        "1 not in one dump of everything: x"
    )
    assert caught.value.next_step == (
        "report this as a bug; until then write jobs: 1 under backups in deploy.yml"
    )


def test_definitions_are_kept_and_only_the_rows_of_the_wanted_tables() -> None:
    kept, left_out = only_rows_of(LINES, frozenset({T}), (T, U, SPACED))

    assert kept == (LINES[0], LINES[1], LINES[5], LINES[8])
    assert left_out == (
        "foreign key public t t_fk owner",
        "MATERIALIZED VIEW DATA public m owner",
        "BLOBS - BLOBS",
    )


def test_a_name_with_a_space_is_not_taken_for_a_shorter_one() -> None:
    kept, _ = only_rows_of(LINES, frozenset({SPACED}), (T, U, SPACED))

    assert [line for line in kept if "TABLE DATA" in line] == [LINES[3]]
