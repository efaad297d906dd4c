"""What a child of ours is told: the variables of its purpose, and no secret of ours."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pgwindlass import git, process, purposes
from pgwindlass.approvals import ssh_branch
from pgwindlass.backup import toc
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import (
    CommandRestart,
    ComposeRestart,
    DockerRestart,
    KubectlRestart,
    RestartConfig,
    SupervisorRestart,
    SystemdRestart,
)
from pgwindlass.database.connection import Database
from pgwindlass.errors import WindlassError
from pgwindlass.postgres.clients import Clients
from pgwindlass.postgres.definitions import definitions
from pgwindlass.restarters import open_restarter
from pgwindlass.secret import Secret

pytestmark = pytest.mark.attack

# What a job that deploys has: none of it is for a child, but for those named below.
PLANTED = {
    "PRODUCTION_DATABASE_URL": "postgresql://app:planted-url@db/shop",
    "DATABASE_URL": "postgresql://app:planted-url-2@db/shop",
    "AWS_ACCESS_KEY_ID": "planted-key-id",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-key",
    "AGE_IDENTITY": "AGE-SECRET-KEY-planted",
    "GITHUB_TOKEN": "ghs_planted",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted-oidc",
    "SMOKE_BEARER": "planted-bearer",
    "PGPASSWORD": "planted-pgpassword",
    "KUBECONFIG": "/planted/kubeconfig",
    "DOCKER_AUTH_CONFIG": "planted-docker",
    "SSH_AUTH_SOCK": "/planted/agent",
    "LD_PRELOAD": "",
    "BASH_ENV": "/planted/profile",
}
QUICK = Duration(0.1)


@pytest.fixture
def recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[dict[str, str]]]:
    """Plant the secrets and fake programs; the function returns what one of them was told."""
    directory = tmp_path / "bin"
    directory.mkdir()
    names = ("systemctl", "journalctl", "ssh", "supervisorctl", "kubectl", "docker")
    for name in (*names, "docker-compose", "git", "ssh-keygen", "mine", "python", "pg_dump"):
        program = directory / name
        program.write_text(f"#!/bin/sh\n/usr/bin/env > {tmp_path}/{name}.$$\necho '{{}}'\nexit 0\n")
        program.chmod(0o755)
    (directory / "pg_restore").symlink_to("pg_dump")
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)

    def told(name: str) -> list[dict[str, str]]:
        files = sorted(tmp_path.glob(f"{name}.*"))
        assert files, f"{name} was not started"
        lines = [file.read_text().splitlines() for file in files]
        return [dict(line.partition("=")[::2] for line in of_one) for of_one in lines]

    return told


Recorded = Callable[[str], list[dict[str, str]]]


def planted(told: list[dict[str, str]]) -> set[str]:
    """Return the planted variables, and any variable with a planted value."""
    return {
        name
        for variables in told
        for name, value in variables.items()
        if name in PLANTED or "planted" in value
    }


RESTARTS: list[tuple[str, RestartConfig, set[str]]] = [
    ("systemctl", SystemdRestart(unit="api", settle=QUICK, within=QUICK), {"SSH_AUTH_SOCK"}),
    (
        "ssh",
        SystemdRestart(unit="api", host="h", settle=QUICK, within=QUICK),
        {"SSH_AUTH_SOCK"},
    ),
    ("supervisorctl", SupervisorRestart(program="api", settle=QUICK, within=QUICK), set()),
    (
        "kubectl",
        KubectlRestart(deployment="api", settle=QUICK, within=QUICK),
        {"KUBECONFIG", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    ),
    (
        "docker",
        DockerRestart(container="api", settle=QUICK, within=QUICK),
        {"DOCKER_AUTH_CONFIG", "SSH_AUTH_SOCK"},
    ),
    (
        "docker",
        ComposeRestart(service="api", settle=QUICK, within=QUICK),
        {"DOCKER_AUTH_CONFIG", "SSH_AUTH_SOCK"},
    ),
    ("mine", CommandRestart(run=("mine",), identity=("mine",), within=QUICK), set()),
    (
        "mine",
        CommandRestart(
            run=("mine",), identity=("mine",), within=QUICK, environment=("SMOKE_BEARER",)
        ),
        {"SMOKE_BEARER"},
    ),
]


@pytest.mark.parametrize(("program", "config", "needed"), RESTARTS)
def test_a_restart_is_told_what_its_kind_needs(
    recorded: Recorded, program: str, config: RestartConfig, needed: set[str]
) -> None:
    restarter = open_restarter(config)
    with suppress(WindlassError, ValueError, KeyError):
        restarter.check()
    with suppress(WindlassError, ValueError, KeyError):
        restarter.restart()

    assert planted(recorded(program)) == needed


def test_git_here_is_told_no_token(recorded: Recorded, tmp_path: Path) -> None:
    git.read(tmp_path, "rev-parse", "HEAD")
    b"".join(git.blob(tmp_path, "HEAD:x"))

    assert planted(recorded("git")) == {"SSH_AUTH_SOCK"}


def test_git_with_a_remote_is_told_the_token_and_nothing_else(
    recorded: Recorded, tmp_path: Path
) -> None:
    with suppress(WindlassError):
        ssh_branch.fetch(tmp_path, "windlass-approvals", tmp_path, digest="d" * 64)

    assert planted(recorded("git")) <= {"SSH_AUTH_SOCK", "GITHUB_TOKEN"}


def test_who_signs_is_told_the_agent_alone(recorded: Recorded, tmp_path: Path) -> None:
    with suppress(WindlassError):
        process.run(("ssh-keygen",), purpose=purposes.SIGN, within=5)

    assert planted(recorded("ssh-keygen")) == {"SSH_AUTH_SOCK"}


def test_what_verifies_is_told_nothing(recorded: Recorded) -> None:
    process.run(("ssh-keygen",), purpose=purposes.TOOL, within=5)

    assert planted(recorded("ssh-keygen")) == set()


def test_the_projects_python_is_told_nothing(recorded: Recorded, tmp_path: Path) -> None:
    talk = process.Talk(("python",), purpose=purposes.PYTHON, cwd=tmp_path)
    list(talk.lines())
    talk.end()

    assert planted(recorded("python")) == set()


def clients(recorded_in: Path) -> Clients:
    return Clients(major=16, version="16.1", directory=recorded_in, tls=True, zstd=False, lz4=False)


def test_pg_dump_is_told_the_address_of_its_database(recorded: Recorded, tmp_path: Path) -> None:
    database = Database(url=Secret("postgresql://u:the-own-password@h/d"))

    definitions(database, clients(tmp_path / "bin"), ())

    (told,) = recorded("pg_dump")
    assert told["PGPASSWORD"] == "the-own-password"
    assert planted([told]) == {"PGPASSWORD"}  # the name, with the value of the URL


def test_pg_restore_without_a_database_is_told_no_password(
    recorded: Recorded, tmp_path: Path
) -> None:
    toc.listing(clients(tmp_path / "bin"), [b"x"])

    assert planted(recorded("pg_dump")) == set()


def test_a_container_is_told_what_docker_needs(recorded: Recorded) -> None:
    tools = Clients(
        major=16, version="16.1", directory=None, image="i", tls=True, zstd=False, lz4=False
    )

    toc.listing(tools, [b"x"])

    assert planted(recorded("docker")) == {"DOCKER_AUTH_CONFIG", "SSH_AUTH_SOCK"}


@pytest.mark.parametrize("planted_path", [".", "", "bin", "./bin"])
def test_a_program_of_the_checkout_is_not_taken_for_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted_path: str
) -> None:
    for directory in (tmp_path, tmp_path / "bin"):
        directory.mkdir(exist_ok=True)
        (directory / "git").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (directory / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", planted_path, prepend=os.pathsep)

    assert git.read(tmp_path, "--version").startswith("git version")

    assert not (tmp_path / "ran").exists()
