"""What the documents derive from their fields."""

from typing import Any

import pytest

from pgwindlass.model import (
    Finding,
    Migration,
    Part,
    Partial,
    PullRequestCheck,
    StepName,
)
from tests.unit.examples import (
    A,
    about,
    changed,
    checked,
    correction,
    finding,
    manifest,
    migration,
    plan,
    rehearsal,
    rehearsed,
    result,
    steps,
    traced,
)

pytestmark = pytest.mark.unit


def test_the_canonical_encoding_has_sorted_keys_and_no_spaces() -> None:
    given = Migration(name="é", checksum="c", sql="s")

    assert given.canonical().decode() == (
        '{"after":null,"backfill":null,"checksum":"c","irreversible":"","name":"é","phase":"before",'
        '"rollback":null,"sql":"s","title":"","transactional":true,"verify":null}'
    )


@pytest.mark.parametrize(
    ("done", "of", "text"),
    [
        (1, 3, "statement 1 of 3 done"),
        (0, 3, "statement 0 of 3 done"),
        (0, 0, "begun, and cut off; what it committed stays"),
    ],
)
def test_a_partial_migration_says_how_far_it_came(done: int, of: int, text: str) -> None:
    assert str(Partial(name=A, direction="up", statements_done=done, statements=of)) == text


def test_a_finding_is_shown_as_a_compiler_would() -> None:
    assert str(Finding(level="error", rule="r", file="a.sql", line=3, message="m")) == (
        "a.sql:3: error: m [r]"
    )


@pytest.mark.parametrize(
    ("more", "passed"),
    [
        ({}, True),
        ({"problems": ("p",)}, False),
        ({"findings": (finding(level="error"),)}, False),
        ({"findings": (finding(), finding(level="unknown"))}, True),
        ({"migrations": (checked(), checked(problem="p"))}, False),
    ],
)
def test_a_change_passes_where_nothing_speaks_against_it(
    more: dict[str, Any], passed: bool
) -> None:
    given = {"problems": (), "findings": (), "migrations": (checked(),)} | more

    check = PullRequestCheck(base="main", commit="c", applied=0, server="s", **given)

    assert check.passed is passed


def test_the_digest_of_a_plan_is_of_what_decides() -> None:
    given = plan()

    assert len(given.digest) == 64
    assert changed(given, about=about()).digest == given.digest
    assert changed(given, schema=("table t",)).digest == given.digest
    assert changed(given, about=about(), schema=("t",)).deciding() == given


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project", "x"),
        ("environment", "x"),
        ("tier", "production"),
        ("direction", "down"),
        ("engine", "x"),
        ("engine_version", "x"),
        ("history", ((A, None),)),
        ("schema_fingerprint", "x"),
        ("leftovers", ("x",)),
        ("migrations", ()),
        ("migrations", (migration(verify="select true"),)),
        ("steps", ()),
        ("policy", (("a", "b"),)),
    ],
)
def test_every_other_field_changes_the_digest(field: str, value: Any) -> None:
    assert plan(**{field: value}).digest != plan().digest


def test_the_rehearsal_of_a_plan_is_of_that_plan_alone() -> None:
    given = plan()
    own = rehearsal(plan_digest=given.digest)

    assert given.rehearsal is None
    assert changed(given, about=about()).rehearsal is None
    assert changed(given, about=about(rehearsal=own)).rehearsal == own
    assert changed(given, about=about(rehearsal=rehearsal())).rehearsal is None


def test_a_plan_has_the_steps_that_it_names() -> None:
    given = plan(steps=steps("lock", "migrate"))

    assert given.has(StepName.LOCK)
    assert given.has(StepName.MIGRATE)
    assert not given.has(StepName.BACKUP)


def test_a_rehearsal_took_as_long_as_its_migrations() -> None:
    given = rehearsal(rehearsed(traced(seconds=1.5)), rehearsed(traced(seconds=2.0)))

    assert given.seconds == 3.5
    assert rehearsal().seconds == 0


@pytest.mark.parametrize("key", ["uat/shop/ID-1/", "uat/shop/ID-1", "ID-1"])
def test_the_id_of_a_backup_is_the_last_part_of_its_key(key: str) -> None:
    assert manifest(key=key).id == "ID-1"


def test_the_globals_of_a_backup_are_counted_and_are_no_archive() -> None:
    archive = Part(key="dump.pgc", size=10, sha256="")
    roles = Part(key="globals.sql", size=5, sha256="", holds="globals")

    given = manifest(parts=(archive, roles))

    assert given.size == 15
    assert given.archives == (archive,)


def test_a_piece_of_evidence_is_found_by_its_name() -> None:
    given = result(evidence=(("before", "pid 1"), ("after", "pid 2")))

    assert given.get("after") == "pid 2"
    assert given.get("backup") is None


def test_the_digest_of_a_correction_is_none_of_a_deployment() -> None:
    deployment, stamp = plan(migrations=()), plan(migrations=(), correction=correction())

    assert len({deployment.digest, stamp.digest}) == 2
    for other in (
        correction("another"),
        correction(verb="repair"),
        correction(arguments=(("name", "a"), ("reason", "another"))),
    ):
        assert plan(migrations=(), correction=other).digest != stamp.digest
    assert deployment.command == "invoke plan --env uat"
    assert stamp.command == "invoke stamp --env uat --name=a '--reason=by hand'"
