"""Which backups stay: the rules alone, without a store."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from pgwindlass.backup.retention import Backup, choose
from pgwindlass.config.sections import KeepConfig
from pgwindlass.model import Manifest, Pin, Proof, ProofLevel

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def backup(
    age: timedelta, *, level: ProofLevel | None = "rows", pinned: str = "", system: str = "1"
) -> Backup:
    at = NOW - age
    identifier = f"{at:%Y%m%dT%H%M%SZ}-d"
    manifest = Manifest(
        key=f"uat/app/{identifier}/",
        environment="uat",
        database="app",
        system_identifier=system,
        deployment="d",
        taken_at=at,
        seconds=1.0,
        server_version=160014,
        client_version="16.14",
        parts=(),
        row_counts=(),
        applied=(),
        restore_command="",
    )
    proof = Proof(level=level, at=at, seconds=1.0, tables=1, rows=1) if level else None
    pin = Pin(reason=pinned, by="ann@host", at=at) if pinned else None
    return Backup(manifest=manifest, proofs=(proof,) if proof else (), pin=pin)


def days(*ages: float) -> tuple[Backup, ...]:
    return tuple(backup(timedelta(days=age)) for age in ages)


def reasons(backups: tuple[Backup, ...], keep: KeepConfig, **needed: str) -> list[tuple[str, ...]]:
    """Return why each stays, newest first."""
    found = choose(backups, keep, needed=needed, system_identifier="1", now=NOW)
    return [choice.reasons for choice in found]


def kept(backups: tuple[Backup, ...], keep: KeepConfig) -> list[float]:
    """Return the ages in days of those that stay."""
    return [
        (NOW - choice.backup.manifest.taken_at) / timedelta(days=1)
        for choice in choose(backups, keep, needed={}, system_identifier="1", now=NOW)
        if choice.reasons
    ]


def test_the_last_ones_stay() -> None:
    assert kept(days(0, 1, 2, 3, 4), KeepConfig(last=3)) == [0, 1, 2]


def test_the_newest_of_each_day_stays_as_many_days_as_have_one() -> None:
    found = days(0, 0.1, 0.2, 1, 1.1, 9, 9.1, 20)

    assert kept(found, KeepConfig(daily=3)) == [0, 1, 9]


def test_weeks_are_those_of_iso_8601() -> None:
    # 2026-11-20 is a Friday: 4 days before is Monday, 5 days before the Sunday of the week before.
    assert kept(days(0, 4, 5, 6, 12), KeepConfig(weekly=3)) == [0, 5, 12]


def test_the_newest_of_each_month_stays() -> None:
    assert kept(days(0, 10, 21, 30, 60), KeepConfig(monthly=3)) == [0, 21, 60]


def test_days_keep_every_one_that_is_younger() -> None:
    assert kept(days(0, 3, 7, 7.1, 30), KeepConfig(days=7)) == [0, 3, 7]


def test_a_backup_stays_where_any_rule_wants_it() -> None:
    found = days(0, 1, 2, 40, 80)

    assert kept(found, KeepConfig(last=1, monthly=2)) == [0, 40]
    assert reasons(found, KeepConfig(last=1, monthly=2))[0] == ("last 1", "monthly 2026-11")


def test_never_fewer_than_two() -> None:
    assert kept(days(0, 100, 200), KeepConfig(last=1)) == [0, 100]
    assert reasons(days(0, 100), KeepConfig(last=1))[1] == ("never fewer than 2",)
    assert kept(days(300, 400, 500), KeepConfig(days=7)) == [300, 400]


def test_only_proven_ones_count() -> None:
    young = tuple(backup(timedelta(days=age), level=None) for age in (0, 1, 2))
    old = days(10, 11, 12)

    found = reasons((*young, *old), KeepConfig(last=2))

    # While new ones are not proven, none of them takes the place of an old one.
    waiting = ("not proven, and fewer than 2 proven ones are newer",)
    assert found == [waiting, waiting, waiting, ("last 2",), ("last 2",), ()]


def test_an_unproven_one_goes_when_two_proven_ones_are_newer() -> None:
    never = backup(timedelta(days=5), level=None)

    assert reasons((*days(0, 1), never), KeepConfig(last=2))[2] == ()
    assert reasons((*days(0, 6), never), KeepConfig(last=2))[1] != ()


@pytest.mark.parametrize("level", ["checksum", "rows", "restore"])
def test_every_level_of_a_proof_counts(level: ProofLevel) -> None:
    found = tuple(backup(timedelta(days=age), level=level) for age in (0, 1, 2))

    assert kept(found, KeepConfig(last=2)) == [0, 1]


def test_a_pin_keeps_whatever_the_rules_say() -> None:
    pinned = backup(timedelta(days=900), pinned="before the great rewrite")

    found = reasons((*days(0, 1, 2), pinned), KeepConfig(last=2))

    assert found[2:] == [(), ("pinned by ann@host: before the great rewrite",)]


def test_what_undoes_a_deployment_in_the_history_stays() -> None:
    found = days(0, 1, 2, 3)

    assert reasons(found, KeepConfig(last=2), **{found[3].manifest.id: "01M7"})[2:] == [
        (),
        ("undoes deployment 01M7",),
    ]


def test_a_backup_of_another_server_is_not_ours_to_prune() -> None:
    other = backup(timedelta(days=100), system="2")

    found = reasons((*days(0, 1, 2), other), KeepConfig(last=2))

    assert found[3] == ("of another server, 2: not ours to prune",)
    # Nor does it count as one of the two that stay.
    assert kept((*days(5), backup(timedelta(0), system="2"), *days(6)), KeepConfig(last=1)) == [
        0,
        5,
        6,
    ]


def test_nothing_is_chosen_of_nothing() -> None:
    assert reasons((), KeepConfig(last=2)) == []


def test_a_backup_may_have_the_reasons_of_several_rules() -> None:
    found = days(0, 3, 30)

    assert reasons(found, KeepConfig(last=1, days=7)) == [
        ("last 1", "younger than 7 days"),
        ("younger than 7 days",),
        (),
    ]


def test_a_day_is_one_of_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        found = reasons(days(0, 20 / 24), KeepConfig(daily=2))  # one day in Tokyo, two of UTC
    finally:
        monkeypatch.undo()
        time.tzset()

    assert found == [("daily 2026-11-20",), ("daily 2026-11-19",)]
