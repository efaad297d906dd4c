"""The version that serves now as an image: named, or the one of the container that runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from tests.fix_docker import IMAGE, SERVE
from tests.kit import Project

pytestmark = pytest.mark.sampled(3)

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
    text = project.deploy_yml.read_text().split("\nrehearsal:")[0]
    with project.deploy_yml.open("w") as file:
        file.write(
            f"{text}\nrehearsal:\n  service:\n    run: [/bin/sh, -c, '{NEW}']\n    deadline: 30s\n"
            f"    checks: [{{get: /health}}]\n    old: {{image: {image}, run: ['{OLD}']}}\n"
        )
    ran = project.run("rehearse", "--env", "uat")
    assert ran.code == 0, ran.err
    return [line for line in ran.out.splitlines() if "version that serves now" in line]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["absent", "named", "serving"])
def test_the_version_of_an_image_is_tried_on_the_copy(
    project: Project, container: Callable[..., str], kind: str
) -> None:
    name = container("api", SERVE) if kind == "serving" else "nobody"
    text, acceptance = project.deploy_yml.read_text(), "    tier: acceptance\n"
    restart = f"    restart: {{with: docker, container: {name}}}\n"
    project.deploy_yml.write_text(text.replace(acceptance, acceptance + restart))

    lines = rehearsed(project, IMAGE if kind == "named" else "serving")

    says = "was not tried: no container serves now" if kind == "absent" else "serves: 1 check"
    assert len(lines) == 3 and all(says in line for line in lines), lines
    if kind == "named":
        assert all(f"(image {IMAGE})" in line for line in lines), lines
