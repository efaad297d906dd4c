"""restore --into: to the environment's own server, and to those that deploy.yml names alone."""

import pytest

from tests.kit import Project

pytestmark = [pytest.mark.attack, pytest.mark.sampled(2)]

OWN = "postgresql://me@db.example.com/shop"
NAMED = "dr.example.com, 'dr2.example.com:6432'"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose servers do not answer: each attempt ends before they are asked."""
    found = Project(tmp_path_factory.mktemp("elsewhere") / "shop", OWN)
    text = found.deploy_yml.read_text()
    for tier in ("development", "acceptance", "production"):
        text = text.replace(f"tier: {tier}\n", f"tier: {tier}\n    restore_to: [{NAMED}]\n")
    found.deploy_yml.write_text(text)
    return found


@pytest.mark.parametrize(
    "into",
    [
        "postgresql://me@evil.example.com/x",
        "postgresql://me@EVIL.example.com/x",
        "postgresql://dr.example.com@evil.example.com/x",
        "postgresql://me@dr.example.com.evil.example/x",
        "postgresql://me@dr.example.com./x",
        "postgresql://me@192.0.2.7/x",
        "postgresql://me@[2001:db8::7]/x",
        "postgresql://me@dr.example.com:6432/x",
        "postgresql://me@dr.example.com/x?port=6432",
        "postgresql://me@dr2.example.com/x",
        "postgresql://me@dr.example.com/x?host=evil.example.com",
        "postgresql://me@%2Ftmp/x",
        "host=/tmp dbname=x",
    ],
)
def test_a_server_that_is_not_named_is_refused(project: Project, into: str) -> None:
    ran = project.run("restore", "--env", "uat", "--into", into, CONFIRM_RESTORE="yes")

    assert ran.code == 3, ran.err
    assert "is not a server that deploy.yml lets a restore go to" in ran.error()[0]
    assert "restore_to names dr.example.com, dr2.example.com:6432" in ran.error()[0]


@pytest.mark.parametrize(
    ("into", "words"),
    [
        ("postgresql://me@dr.example.com,evil.example.com/x", "does not name one host"),
        ("postgresql://me@dr.example.com:5432,dr.example.com:99/x", "does not name one host"),
        ("host=dr.example.com port=5432,99 dbname=x", "does not name one host"),
        ("host=dr.example.com hostaddr=192.0.2.7 dbname=x", "--into has hostaddr"),
        ("postgresql://me@dr.example.com/x?hostaddr=192.0.2.7", "--into has hostaddr"),
        ("service=evil host=dr.example.com dbname=x", "--into has service"),
        ("postgresql:///x", "--into names no host"),
        ("postgresql://me@dr.example.com/host=evil.example.com", "--into names no database"),
        ("postgresql://me@dr.example.com/", "--into names no database"),
    ],
)
def test_a_url_that_leaves_the_server_open_is_refused(
    project: Project, into: str, words: str
) -> None:
    ran = project.run(
        "restore", "--env", "uat", "--into", into, CONFIRM_RESTORE="yes", PGHOST="evil.example.com"
    )

    assert ran.code == 2, ran.err
    assert words in ran.error()[0]


@pytest.mark.parametrize("variable", ["PGHOSTADDR", "PGSERVICE"])
def test_a_variable_does_not_lead_to_another_server(project: Project, variable: str) -> None:
    ran = project.run(
        "restore",
        *("--env", "uat", "--into", "postgresql://me@dr.example.com/x"),
        CONFIRM_RESTORE="yes",
        **{variable: "192.0.2.7"},
    )

    assert ran.code == 2, ran.err
    assert f"{variable} is set" in ran.error()[0]


@pytest.mark.parametrize("environment", ["dev", "production"])
def test_no_tier_lets_one_go_to_any_server(project: Project, environment: str) -> None:
    ran = project.run("restore", "--env", environment, "--into", "postgresql://me@evil/x")

    assert ran.code == 3, ran.err
    assert "evil is not a server that deploy.yml lets" in ran.error()[0]


@pytest.mark.parametrize("named", ["*.example.com", "dr.example.com,evil", "''", "me@dr", "dr:x"])
def test_deploy_yml_names_servers_one_by_one(project: Project, named: str) -> None:
    text = project.deploy_yml.read_text()
    listed = named if named == "''" else f"'{named}'"
    project.deploy_yml.write_text(text.replace(NAMED, listed))
    try:
        ran = project.run("restore", "--env", "uat", "--into", "postgresql://me@evil/x")
    finally:
        project.deploy_yml.write_text(text)

    assert ran.code == 2, ran.err
    assert "is no address of one server; write HOST or HOST:PORT" in ran.error()[0]
    assert "deploy.yml" in ran.error()[0]
