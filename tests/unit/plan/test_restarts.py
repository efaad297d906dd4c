"""What a killed run's restart marker says, and for how long it counts."""

from datetime import timedelta

import pytest

from pgwindlass.alive import Alive, Machine
from pgwindlass.database.markers import Marker
from pgwindlass.plan import restarts
from tests.unit.examples import NOW

pytestmark = pytest.mark.unit

HERE = Machine("ci-7", "boot-1 pid:[1]")


def marker(kind: str = "restart", **changed: str) -> Marker:
    detail = restarts.detail("command restart.sh", HERE, Alive(71, "9000"), within=120)
    return Marker(id="k", kind=kind, deployment="d", at=NOW, detail=detail | changed)


def test_a_marker_gives_back_what_was_announced() -> None:
    (left,) = restarts.left((marker(kind="swap"), marker()))

    assert (left.key, left.command) == ("k", "command restart.sh")
    assert (left.machine, left.child) == (HERE, Alive(71, "9000"))
    assert (left.began, left.until) == (NOW, NOW + timedelta(seconds=120))


@pytest.mark.parametrize(
    ("here", "same"),
    [
        (HERE, True),
        (Machine("ci-8", HERE.boot), False),
        (Machine("ci-7", "boot-2 pid:[1]"), False),  # it started anew, or is another one
        (Machine("ci-7", "boot-1 pid:[2]"), False),  # a container
    ],
)
def test_a_process_id_means_something_on_its_own_machine_alone(here: Machine, same: bool) -> None:
    (left,) = restarts.left((marker(),))

    assert left.is_on(here) is same


def test_without_a_boot_or_a_start_time_it_is_nobodys() -> None:
    (nowhere,) = restarts.left((marker(boot=""),))
    (unknown,) = restarts.left((marker(started=""),))

    assert not nowhere.is_on(Machine("ci-7", ""))
    assert not unknown.is_on(HERE)


@pytest.mark.parametrize(
    ("after", "seconds"), [(0, 120), (30, 90), (120, 0), (5000, 0), (-60, 180)]
)
def test_what_is_left_is_counted_by_the_servers_clock(after: float, seconds: float) -> None:
    (left,) = restarts.left((marker(),))

    assert left.seconds_left(NOW + timedelta(seconds=after)) == seconds


@pytest.mark.parametrize(
    ("within", "seconds"), [("1e9", 0), ("", 0), ("x", 0), ("999999", 3600), ("0.5", 0.5)]
)
def test_an_absurd_bound_is_not_waited_for(within: str, seconds: float) -> None:
    (left,) = restarts.left((marker(within=within),))

    assert left.seconds_left(NOW) == seconds


def test_a_pid_that_is_no_number_is_nobodys() -> None:
    (left,) = restarts.left((marker(pid="-1"),))

    assert left.child.pid == 0


@pytest.mark.parametrize(
    ("within", "seconds"), [("1.5", 1.5), ("1.5.5", 0), (".5", 0.5), ("soon", 0), ("", 0)]
)
def test_a_time_that_is_no_number_is_over(within: str, seconds: float) -> None:
    (left,) = restarts.left((marker(within=within),))

    assert left.seconds_left(NOW) == seconds
