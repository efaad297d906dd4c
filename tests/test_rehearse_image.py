"""The version that serves now as an image: named, or the one of the container that runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from tests.fix_docker import IMAGE, SERVE
from tests.kit import Project

# Where it has the copy's socket it has the file that is asked for; else it answers 404.
OLD = (
    "d=${DATABASE_URL##*host=}; d=${d%%&*}; mkdir -p /w; "
    "for f in $d/.s.PGSQL.*; do [ -S $f ] && echo x > /w/health; done; "
    "exec /bin/busybox httpd -f -p 127.0.0.1:{port} -h /w"
)
NEW = "echo x > $HOME/health; exec /bin/busybox httpd -f -p 127.0.0.1:{port} -h $HOME"


@pytest.fixture
def project(tmp_path: Path, database16: Database, docker_host: str) -> Project:
    shop = Project(tmp_path / "shop", database16.url.reveal(), env={"DOCKER_HOST": docker_host})
    shop.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    assert shop.run("deploy", "--env", "uat").code == 0
    shop.migration("20260802_000000_b", "create table b (i int);", "drop table b;")
    return shop


def rehearsed(project: Project, image: str) -> list[str]:
    """Rehearse with the old version of an image; return what is said of the old version."""
    with project.deploy_yml.open("a") as file:
        file.write(
            f"rehearsal:\n  service:\n    run: [/bin/sh, -c, '{NEW}']\n    deadline: 30s\n"
            f"    checks: [{{get: /health}}]\n    old: {{image: {image}, run: ['{OLD}']}}\n"
        )
    ran = project.run("rehearse", "--env", "uat")
    assert ran.code == 0, ran.err
    return [line for line in ran.out.splitlines() if "version that serves now" in line]


def test_an_image_serves_on_the_copy_and_the_container_that_runs_names_its_own(
    project: Project, container: Callable[..., str]
) -> None:
    lines = rehearsed(project, IMAGE)

    assert len(lines) == 3
    assert all(f"(image {IMAGE})" in line and "serves: 1 check" in line for line in lines), lines

    name = container("api", SERVE)
    text = project.deploy_yml.read_text().split("rehearsal:")[0]
    restart = f"    restart: {{with: docker, container: {name}}}\n"
    acceptance = "    tier: acceptance\n"
    project.deploy_yml.write_text(text.replace(acceptance, acceptance + restart))
    lines = rehearsed(project, "serving")

    assert len(lines) == 3 and all("serves: 1 check" in line for line in lines), lines
    text = project.deploy_yml.read_text().split("rehearsal:")[0]
    project.deploy_yml.write_text(text.replace(name, "nobody"))
    with pytest.raises(AssertionError, match="nobody"):
        rehearsed(project, "serving")
