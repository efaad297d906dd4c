"""What the service on a copy is asked, which address it gets, and what is said of it."""

from typing import Literal

import pytest

from pgwindlass.config.sections import ServiceConfig, SmokeCheck, SmokeConfig
from pgwindlass.model import Moment, ServiceTrial
from pgwindlass.rehearsal import trials
from pgwindlass.rehearsal.trials import Old
from pgwindlass.secret import Secret

pytestmark = pytest.mark.unit

HEALTH, LIST = SmokeCheck(get="/health"), SmokeCheck(get="/orders")
BEARER = SmokeCheck(get="/mine", bearer=Secret("of-production"))
HEADER = SmokeCheck(get="/other", headers={"X-Key": Secret("of-production")})
SERVE = ServiceConfig(run=("serve", "--port={port}"))


def test_the_environments_checks_are_asked_but_for_those_that_may_hold_a_secret() -> None:
    smoke = SmokeConfig(base_url="https://api", checks=(HEALTH, BEARER, LIST, HEADER))
    own = ServiceConfig(run=("serve",), checks=(BEARER,))

    assert trials.checks_of(SERVE, smoke) == (HEALTH, LIST)
    assert trials.checks_of(own, smoke) == (BEARER,)
    assert trials.checks_of(SERVE, None) == ()


def test_they_go_to_a_port_of_this_machine() -> None:
    asked = trials.asked_at(SERVE, (HEALTH,), 4711)

    assert (asked.base_url, asked.checks, asked.successes) == (
        "http://127.0.0.1:4711",
        (HEALTH,),
        1,
    )
    assert (asked.deadline, asked.pause) == (SERVE.deadline, trials.PAUSE)
    assert trials.with_port(SERVE.run, 4711) == ("serve", "--port=4711")


@pytest.mark.parametrize(
    ("parameters", "url"),
    [
        (
            {"host": "/run/x", "port": "5432", "user": "a b", "dbname": "c", "passfile": "/n"},
            "postgresql://a%20b@/c?host=/run/x&port=5432",
        ),
        ({"host": "/run/x", "user": "a", "dbname": "c"}, "postgresql://a@/c?host=/run/x"),
        (
            {"host": "db", "port": "6", "user": "a", "password": "p@", "dbname": "c"},
            "postgresql://a:p%40@db:6/c",
        ),
        (
            {"host": "db", "user": "a", "dbname": "c", "sslmode": "require"},
            "postgresql://a@db/c?sslmode=require",
        ),
        (
            {"host": "db", "user": "a/b", "dbname": "c/d", "sslrootcert": "/etc/ca s.pem"},
            "postgresql://a%2Fb@db/c%2Fd?sslrootcert=/etc/ca+s.pem",
        ),
        (
            {"host": "db", "user": "a", "password": "p/w", "dbname": "c"},
            "postgresql://a:p%2Fw@db/c",
        ),
        ({}, "postgresql://@/"),
    ],
)
def test_the_address_says_where_and_who_and_nothing_else(
    parameters: dict[str, str], url: str
) -> None:
    assert trials.address(parameters) == url


@pytest.mark.parametrize(
    ("old", "name"),
    [
        (Old(commit="c0ffee" * 6), "commit c0ffeec0ffee"),
        (Old(image="shop:7"), "image shop:7"),
        (Old(run=("old",)), "the command of rehearsal.service.old"),
    ],
)
def test_what_serves_now_has_a_name(old: Old, name: str) -> None:
    assert old.name == name


def test_a_line_says_which_version_when_and_how_fast() -> None:
    trial = ServiceTrial(
        version="old", name="commit c0ffee", moment="migrated", checks=2, ready=1.25, slowest=0.0123
    )

    assert trials.line(trial) == (
        "service after the migrations of before the restart: the version that serves now "
        "(commit c0ffee) serves: 2 checks, ready in 1.2 s, slowest 12 ms"
    )
    one = ServiceTrial(
        version="new", name="x", moment="finished", checks=1, ready=0.5, slowest=10.0
    )
    assert trials.line(one) == (
        "service after all migrations: the new version (x) serves: 1 check, ready in 0.5 s, "
        "slowest 10000 ms"
    )
    skipped = ServiceTrial(version="old", name="", moment="before", not_tried="no commit")
    assert trials.line(skipped) == (
        "service before any migration: the version that serves now was not tried: no commit"
    )


def test_a_refusal_says_which_version_and_when() -> None:
    assert trials.refusal("new", "x", "finished", "GET /: 500") == (
        "the new version (x) does not serve on the copy after all migrations: GET /: 500"
    )


@pytest.mark.parametrize(
    ("version", "moment", "step"),
    [
        (
            "old",
            "before",
            "it does not serve on a copy at all: start it by hand as rehearsal.service says, and "
            "mend run, old or checks in deploy.yml",
        ),
        ("new", "migrated", "mend the service or the migrations, and rehearse again"),
        (
            "old",
            "migrated",
            "let both versions work with the schema between them: first add, then deploy, then "
            "remove (-- windlass: phase=after, or a later deployment)",
        ),
        (
            "old",
            "rolled back",
            "mend the rollback scripts: they do not give back what the old version needs",
        ),
    ],
)
def test_the_next_step_fits_the_moment(
    version: Literal["old", "new"], moment: Moment, step: str
) -> None:
    assert trials.next_step(version, moment) == step


def test_times_are_recorded_rounded() -> None:
    trial = ServiceTrial(
        version="new", name="x", moment="finished", ready=1.23456, slowest=0.012345
    )

    (recorded,) = trials.replaced((), trial)

    assert (recorded.ready, recorded.slowest) == (1.235, 0.0123)
