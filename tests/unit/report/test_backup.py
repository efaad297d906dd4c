"""Backups, proofs and restores as text: every text whole."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from pgwindlass.backup.retention import Backup, Choice
from pgwindlass.model import Part, Pin, Proof
from pgwindlass.report.backup import (
    backup_line,
    backups_text,
    drill_note,
    pin_line,
    proof_line,
    prune_text,
    restore_text,
    restored_text,
    swapped_text,
)
from tests.unit.examples import NOW, backup, manifest, proof

pytestmark = pytest.mark.unit

ID = "20260801T000000Z-x"
LINE = "20261120T113000Z-d1  shop       1,234,567 bytes  PostgreSQL 16  1,500 rows of 2 tables  "


@dataclass(frozen=True)
class Restoring:
    """A restore that is going to be, as report.backup.Restoring wants it."""

    swap: bool = False
    changed: tuple[tuple[str, int, int], ...] = ()
    last_drill: Proof | None = None
    backup: str = "20261120T113000Z-d1"
    taken_at: datetime = NOW
    database: str = "shop_restored"


@dataclass(frozen=True)
class Restored:
    """A restore that is done, as report.backup.Whole wants it."""

    left_out: tuple[str, ...] = ()
    database: str = "shop_restored"
    seconds: float = 61.25
    tables: int = 12
    rows: int = 1_234_567


@pytest.mark.parametrize(
    ("found", "tail"),
    [
        (backup(), "not proven"),
        (backup(proof("checksum")), "proven by checksum"),
        (backup(proof("restore"), proof("rows")), "proven by restore"),
        (backup(encrypted_for=("age1x",)), "not proven, encrypted"),
        (
            backup(parts=tuple(Part(key=k, size=617_283, sha256="") for k in "ab"), toc_entries=1),
            "not proven, 2 archives",
        ),
        (
            Backup(manifest=manifest(), pin=Pin(reason="the great rewrite", by="ann", at=NOW)),
            "not proven, pinned: the great rewrite",
        ),
    ],
)
def test_a_backup_is_one_line(found: Backup, tail: str) -> None:
    line = LINE.replace("1,234,567", f"{found.manifest.size:,}")

    assert backup_line(found) == line + tail


def test_everything_that_is_known_of_a_backup_is_in_its_line() -> None:
    parts = (
        Part(key="a", size=1, sha256=""),
        Part(key="b", size=2, sha256=""),
        Part(key="g", size=3, sha256="", holds="globals"),
    )
    found = Backup(
        manifest=manifest(parts=parts, encrypted_for=("age1x",), server_version=90624),
        proofs=(proof(),),
        pin=Pin(reason="why", by="ann", at=NOW),
    )

    assert backup_line(found) == (
        "20261120T113000Z-d1  shop               6 bytes  PostgreSQL 9  1,500 rows of 2 tables  "
        "proven by rows, 2 archives, encrypted, pinned: why"
    )


def test_backups_are_a_line_each() -> None:
    assert backups_text(()) == "no backup"
    assert backups_text((backup(), backup(proof()))) == f"{LINE}not proven\n{LINE}proven by rows"


@pytest.mark.parametrize(("dry_run", "word"), [(True, "would go"), (False, "removed")])
def test_a_pruning_says_of_each_backup_why_it_stays_or_that_it_goes(
    dry_run: bool, word: str
) -> None:
    choices = (
        Choice(backup=backup(), reasons=("last 2", "daily 2026-11-20")),
        Choice(backup=backup(key=f"uat/shop/{ID}/"), reasons=()),
        Choice(backup=backup(), reasons=("last 2",)),
    )

    assert prune_text(choices, dry_run=dry_run) == (
        "20261120T113000Z-d1  last 2; daily 2026-11-20\n"
        f"{ID}  {word}\n"
        "20261120T113000Z-d1  last 2\n"
        f"1 {word}, 2 stay"
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (proof(), "proven by rows, 1,500 rows of 2 tables, in 3.0 s"),
        (proof("checksum", tables=0, rows=0), "proven by checksum, in 3.0 s"),
        (
            proof("restore", server="PostgreSQL 16"),
            "proven by restore into PostgreSQL 16, 1,500 rows of 2 tables, in 3.0 s",
        ),
    ],
)
def test_a_proof_is_one_line(given: Proof, line: str) -> None:
    assert proof_line(ID, given) == f"{ID}: {line}"


def test_a_restore_beside_the_live_database_says_so() -> None:
    assert restore_text(Restoring()) == (
        "restore of backup 20261120T113000Z-d1, taken 2026-11-20 12:30:15 UTC\n"
        "  into shop_restored; the live database is not touched"
    )


def test_a_restore_that_swaps_says_what_it_does_and_what_is_known() -> None:
    changed = (("public.a", 1000, 1234), ("public.b", 5, 0))

    assert restore_text(Restoring(swap=True, changed=changed, last_drill=proof("restore"))) == (
        "restore of backup 20261120T113000Z-d1, taken 2026-11-20 12:30:15 UTC\n"
        "  into shop_restored, verified, then in the place of the live database\n"
        "  the last drill restored 1,500 rows in 3.0 s, on 2026-11-20\n"
        "  changed since, by the server's statistics:\n"
        "    public.a: 1,000 rows then, about 1,234 now\n"
        "    public.b: 5 rows then, about 0 now"
    )


@pytest.mark.parametrize(("count", "more"), [(12, ""), (13, "1 more"), (20, "8 more")])
def test_twelve_changed_tables_are_shown(count: int, more: str) -> None:
    changed = tuple((f"t{number}", 1, 2) for number in range(count))

    lines = restore_text(Restoring(changed=changed)).splitlines()

    assert lines[14] == "    t11: 1 rows then, about 2 now"
    assert lines[15:] == ([f"    and {more} tables"] if more else [])


def test_what_was_restored_says_how_it_gets_into_the_live_ones_place() -> None:
    done = Restored(left_out=("foreign key t fk", "BLOB 1"))

    assert restored_text("uat", done, "") == (
        "restored into shop_restored: 1,234,567 rows of 12 tables in 61.2 s\n"
        "  left out: foreign key t fk\n"
        "  left out: BLOB 1\n"
        "  to replace the live database: invoke restore --env uat --swap shop_restored"
    )


def test_what_was_restored_and_swapped_says_where_the_old_one_is() -> None:
    swapped = (
        "  it serves now; what served before is kept as shop_old\n"
        "  next: invoke status --env uat; to drop the old one: invoke restore --env uat --drop-old"
    )

    assert swapped_text("uat", "shop_old") == swapped
    assert restored_text("uat", Restored(), "shop_old") == (
        f"restored into shop_restored: 1,234,567 rows of 12 tables in 61.2 s\n{swapped}"
    )


@pytest.mark.parametrize(
    ("last", "at_most", "note"),
    [
        (None, None, ""),
        (proof(), None, ""),
        (
            None,
            timedelta(days=8),
            "no restore drill was ever run: invoke backup.drill",
        ),
        (proof(at=NOW - timedelta(days=8)), timedelta(days=8), ""),
        (
            proof(at=NOW - timedelta(days=9)),
            timedelta(days=8),
            "the last drill was 9 days ago, at most 8 are allowed: invoke backup.drill",
        ),
        (
            proof(at=NOW - timedelta(days=8, seconds=1)),
            timedelta(days=8),
            "the last drill was 8 days ago, at most 8 are allowed: invoke backup.drill",
        ),
    ],
)
def test_a_drill_that_is_too_old_is_noted(
    last: Proof | None, at_most: timedelta | None, note: str
) -> None:
    assert drill_note(last, at_most=at_most, now=NOW) == note


def test_a_backup_is_pinned_for_a_reason_or_no_more() -> None:
    pin = Pin(reason="before the merger", by="ann", at=NOW)

    assert pin_line(ID, pin) == f"{ID}: pinned, before the merger"
    assert pin_line(ID, None) == f"{ID}: pinned no more"
