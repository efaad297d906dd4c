"""The members of a service: every part on every host, each with an address."""

from collections.abc import Sequence

import pytest

from pgwindlass.config.members import Member, hostname, members

pytestmark = pytest.mark.unit


def names(hosts: Sequence[str] = (), parts: Sequence[str] = ()) -> list[str]:
    return [member.name for member in members(hosts, parts, "", noun="unit")]


def test_every_part_on_every_host_in_order() -> None:
    assert names(["h1", "h2"], ["a", "b"]) == ["a on h1", "b on h1", "a on h2", "b on h2"]
    assert names(["h1", "h2"]) == ["h1", "h2"]
    assert names(("",), ["a", "b"]) == ["a", "b"]
    assert names([], ["a"]) == ["a"]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("api1", "api1"),
        ("deploy@api1.example.com", "api1.example.com"),
        ("ssh://deploy@api1:2222", "api1"),
        ("tcp://10.0.0.1:2376", "10.0.0.1"),
        ("unix:///run/docker.sock", ""),
    ],
)
def test_the_host_of_a_target(target: str, host: str) -> None:
    assert hostname(target) == host


def test_an_address_is_made_of_the_host_and_the_part() -> None:
    made = members(["u@h1", "h2"], ["a"], "http://{host}:80/{unit}", noun="unit")

    assert [member.address for member in made] == ["http://h1:80/a", "http://h2:80/a"]


def test_a_list_has_one_address_for_each() -> None:
    made = members((), ["a", "b"], ["http://1", "http://2"], noun="container")

    assert made == (Member("", "a", "http://1"), Member("", "b", "http://2"))


@pytest.mark.parametrize(
    ("hosts", "parts", "smoke", "words"),
    [
        (["h", "h"], [], "", "h is named twice"),
        ([], ["a", "b", "a"], "", "a is named twice"),
        (["-oProxyCommand=x"], [], "", '"-oProxyCommand=x" is no name of a host or a unit'),
        (["h", " "], [], "", '" " is no name of a host or a unit'),
        ([], ["a", "b"], ["http://1"], "smoke has 1 addresses for 2 members"),
        ([], ["a", "b"], "http://x", "smoke is one address for several members: write {host} or "),
        ([], ["a"], "http://{host}", "smoke: {host} stands for nothing here"),
        (["h"], [], "http://{container}", "smoke: {container} stands for nothing here"),
        (["h"], [], "http://{port}", "smoke: {port} stands for nothing here"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    hosts: list[str], parts: list[str], smoke: str | list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words.replace("{", r"\{")):
        members(hosts, parts, smoke, noun="unit")
