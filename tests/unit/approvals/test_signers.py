"""An allowed-signers file as people."""

import base64

import pytest

from pgwindlass.approvals.signers import LOGIN, deployer_names, known_as, people_of
from pgwindlass.errors import ConfigError

pytestmark = pytest.mark.unit


def key(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def names(text: str) -> list[str]:
    people = people_of(text, "approvers")
    return sorted({person.name for person in people.values()})


def test_a_line_is_a_person_with_names_and_a_key() -> None:
    text = (
        "# who may\n\nann@example.com,github:Ann ssh-ed25519 " + key("a") + " ann's\r\n"
        'bob@example.com namespaces="git,windlass",valid-before="20300101" ssh-rsa ' + key("b")
    )

    people = people_of(text, "approvers")

    assert [person.name for person in people.values()] == ["ann@example.com", "bob@example.com"]
    assert people[b"a"].names == {"ann@example.com", "github:ann"}
    assert people[b"a"].has_login and not people[b"b"].has_login
    assert people[b"a"].lines[0].number == 3


def test_lines_that_share_a_name_or_a_key_are_one_person() -> None:
    two_keys = f"ann@x ssh-ed25519 {key('a')}\nAnn@X ssh-ed25519 {key('b')}\n"
    one_key = f"ann@x ssh-ed25519 {key('a')}\neve@x ssh-ed25519 {key('a')}\n"
    bridged = (
        f"ann@x ssh-ed25519 {key('a')}\neve@x ssh-ed25519 {key('b')}\n"
        f"eve@x,ann@x ssh-ed25519 {key('c')}\n"
    )

    assert names(two_keys) == names(one_key) == names(bridged) == ["ann@x"]


def test_an_address_that_github_gives_names_the_account() -> None:
    assert f"{LOGIN}ann" in known_as(["123+Ann@users.noreply.github.com"])
    assert f"{LOGIN}ann" in known_as(["ann@users.noreply.github.com"])
    assert people_of(f"9+ann@users.noreply.github.com ssh-ed25519 {key('a')}", "approvers")[
        b"a"
    ].has_login


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("* ssh-ed25519 AAAA", '"*" is no name of one person'),
        ("*@example.com ssh-ed25519 AAAA", "is no name of one person"),
        ("ann@x,?ob@x ssh-ed25519 AAAA", '"?ob@x" is no name of one person'),
        ("ann@x,!bob@x ssh-ed25519 AAAA", "is no name of one person"),
        ('"ann@x,*" ssh-ed25519 AAAA', "is no name of one person"),
        ("ann@x, ssh-ed25519 AAAA", '"" is no name of one person'),
        ("ann@x cert-authority ssh-ed25519 AAAA", "lets certificates in"),
        ('ann@x namespaces="windlass",CERT-AUTHORITY ssh-rsa AAAA', "lets certificates in"),
        ("ann@x ssh-ed25519-cert-v01@openssh.com AAAA", "lets certificates in"),
        ("ann@x ssh-ed25519", "is no line of an allowed-signers file"),
        ("ssh-ed25519 AAAA ann@x", "is no line of an allowed-signers file"),
        ("ann@x ssh-ed25519 A*A=", "is not base64"),
    ],
)
def test_a_line_that_may_be_several_people_is_refused_with_its_place(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        people_of(f"# first\n{line}\n", ".github/approvers")

    assert caught.value.what.startswith(".github/approvers:2: ")
    assert said in caught.value.what


def test_a_deployer_is_known_by_account_and_address_and_on_github_by_login() -> None:
    at_home = deployer_names({"EMAIL": "Ann@x"}, ["a@x"], ["ann"])
    run = {"GITHUB_ACTOR": "Ann", "GITHUB_TRIGGERING_ACTOR": "bob"}

    assert at_home == {"ann@x", "a@x", "ann"}
    assert deployer_names(run, ["bot@x"], ["runner"]) == {
        "ann",
        "bob",
        "github:ann",
        "github:bob",
        "bot@x",
    }


@pytest.mark.parametrize("name", ["EMAIL", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"])
def test_a_deployer_is_known_by_every_address_that_git_would_write(name: str) -> None:
    assert deployer_names({name: "Ann@x"}, [], []) == {"ann@x"}


def test_an_indented_comment_is_none_of_the_lines() -> None:
    assert names(f"  # who may\n \t\nann@x ssh-ed25519 {key('a')}") == ["ann@x"]


def test_a_name_in_quotes_is_a_name() -> None:
    assert names(f'"ann@x, ann@y" ssh-ed25519 {key("a")}') == ["ann@x"]


def test_what_is_behind_the_key_is_a_comment_and_no_option() -> None:
    assert names(f"ann@x ssh-ed25519 {key('a')} cert-authority") == ["ann@x"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("ann@x", "it is no line of an allowed-signers file"),
        ("ann@x namespaces=git", "it is no line of an allowed-signers file"),
        (
            "ann@x cert-authority ssh-rsa AAAA",
            "it lets certificates in: whoever holds the authority is any approver",
        ),
        ('"ann x" ssh-rsa AAAA', '"ann x" is no name of one person: no wildcards, none empty'),
        ("ann@x ssh-rsa AA!AA", "its key is not base64"),
    ],
)
def test_a_refused_line_says_what_it_should_be(line: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        people_of(line, "approvers")

    assert caught.value.what == f"approvers:1: the line names no approver: {what}"
    assert caught.value.next_step == (
        'write it as: EMAIL,github:LOGIN [valid-before="20301231"] ssh-ed25519 AAAA…'
    )
