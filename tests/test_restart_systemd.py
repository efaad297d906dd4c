"""systemd, the real user manager: the traps that an exit status of 0 hides."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import SystemdRestart
from pgwindlass.errors import StepFailed, Unreachable
from pgwindlass.restarters import open_restarter
from pgwindlass.restarters.systemd import Systemd, systemctl_command

Unit = Callable[..., str]
SLEEP = "/bin/sleep 600"


def systemd(*units: str, within: float = 8, settle: float = 0.8) -> Systemd:
    return Systemd(
        SystemdRestart(unit=units, user=True, settle=Duration(settle), within=Duration(within))
    )


def test_a_service_that_dies_after_half_a_second_fails(unit: Unit) -> None:
    driver = systemd(unit("wl-dies.service", "/bin/sh -c 'sleep 0.5; exit 3'"))

    with pytest.raises(StepFailed) as caught:
        driver.restart()

    assert "wl-dies.service did not stay up for 800ms after the restart" in caught.value.what
    assert "exit status 3" in caught.value.what
    assert caught.value.next_step == "systemctl --user status wl-dies.service"


def test_a_crash_loop_fails_although_it_is_active_half_of_the_time(unit: Unit) -> None:
    name = unit("wl-loop.service", "/bin/sleep 0.3", "Restart=always\nRestartSec=50ms")

    with pytest.raises(StepFailed, match=r"did not stay up|failed after the restart"):
        systemd(name, settle=1.5).restart()


def test_a_program_that_does_not_exist_fails(unit: Unit) -> None:
    name = unit("wl-missing.service", "/nonexistent/program", start=False)

    with pytest.raises(StepFailed, match="exit status 203"):
        systemd(name).restart()


def test_a_unit_that_hit_its_start_limit_is_restarted_all_the_same(unit: Unit) -> None:
    limits = "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=600"
    name = unit("wl-limit.service", "/bin/false", limits)
    for _ in range(4):
        with pytest.raises(StepFailed):
            systemd(name, settle=0.2).restart()
    unit("wl-limit.service", SLEEP, limits, start=False)

    assert systemd(name).restart().instance


def test_one_dead_unit_of_two_fails(unit: Unit) -> None:
    good = unit("wl-one.service", SLEEP)
    bad = unit("wl-two.service", "/bin/sh -c 'sleep 0.3; exit 1'")

    with pytest.raises(StepFailed, match=r"wl-two.service did not stay up"):
        systemd(good, bad).restart()


def test_two_good_units_give_two_invocations(unit: Unit) -> None:
    driver = systemd(unit("wl-a.service", SLEEP), unit("wl-b.service", SLEEP))

    assert len(driver.restart().instance.split(",")) == 2


def test_a_unit_that_does_not_exist_is_refused_before_anything(unit: Unit) -> None:
    unit("wl-any.service", SLEEP)

    with pytest.raises(StepFailed) as caught:
        systemd("wl-nobody.service").check()

    assert caught.value.what == "wl-nobody.service: systemd says not-found"
    assert caught.value.state == "nothing was restarted"


def test_a_pattern_is_refused_for_it_may_match_nothing(unit: Unit) -> None:
    unit("wl-any.service", SLEEP)

    with pytest.raises(StepFailed) as caught:
        systemd("wl-*.service").restart()

    assert caught.value.what == "wl-*.service: a pattern; expected the name of a unit"
    assert caught.value.state == "nothing was restarted"


def test_an_edited_unit_file_is_read_before_the_restart(unit: Unit) -> None:
    name = unit("wl-edited.service", SLEEP)

    assert systemd(name).restart().detail == "new invocation, active"


def test_a_manager_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)

    with pytest.raises(Unreachable, match="systemd does not answer"):
        systemd("wl-any.service").check()


def test_a_host_is_asked_over_ssh_with_every_word_quoted() -> None:
    config = SystemdRestart(unit="a b.service", host="deploy@api1")

    assert systemctl_command(config, "restart", "a b.service") == (
        "ssh",
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=10",
        "-o",
        "ServerAliveInterval=10",
        "-o",
        "ServerAliveCountMax=3",
        "deploy@api1",
        "systemctl restart 'a b.service'",
    )


def test_a_host_that_ssh_cannot_reach_is_unreachable() -> None:
    driver = Systemd(SystemdRestart(unit="a.service", host="nobody@127.0.0.1.invalid"))

    with pytest.raises(Unreachable) as caught:
        driver.check()

    assert caught.value.next_step == "ssh nobody@127.0.0.1.invalid true"


def test_hosts_are_restarted_one_after_the_other_over_ssh(
    unit: Unit, ssh_hosts: tuple[str, ...], tmp_path: Path
) -> None:
    """Two names of one machine: the unit is restarted once for each, and proven each time."""
    log = tmp_path / "starts"
    name = unit("wl-hosts.service", f"/bin/sh -c 'echo start >> {log}; exec sleep 600'")
    config = SystemdRestart(
        unit=name, hosts=ssh_hosts, user=True, settle=Duration(0.05), within=Duration(30)
    )
    restarter = open_restarter(config)
    before = restarter.running().instance
    begun = len(log.read_text().split())

    now = restarter.restart()

    assert len(log.read_text().split()) == begun + 2
    assert now.detail == f"2 members restarted: {', '.join(ssh_hosts)}"
    assert now.instance != before
    assert [pair.partition("=")[0] for pair in now.instance.split()] == list(ssh_hosts)
    assert restarter.check() == ", ".join(f"{host}: {name} active" for host in ssh_hosts)


def test_a_host_that_is_gone_stops_those_behind_it(unit: Unit, ssh_hosts: tuple[str, ...]) -> None:
    name = unit("wl-hosts-gone.service", SLEEP)
    hosts = ("wl-gone.invalid", ssh_hosts[0])
    restarter = open_restarter(
        SystemdRestart(unit=name, hosts=hosts, user=True, settle=Duration(0.2))
    )

    with pytest.raises(StepFailed, match=r"^wl-gone\.invalid: ssh to wl-gone\.invalid failed"):
        restarter.restart()
