"""What the service answers before the first change: an older fault is told as one."""

from pathlib import Path

import pytest

from pgwindlass.database.connection import Database
from tests.fix_service import api_of
from tests.kit import Project


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    shop = Project(tmp_path / "shop", database16.url.reveal())
    text = shop.deploy_yml.read_text()
    smoke = text[text.index("    smoke:\n") :]
    wait = "    lock: {timeout: [100ms, 200ms], wait: 3s}\n"
    shop.deploy_yml.write_text(text.replace(wait, wait + smoke, 1))
    shop.migration("20260801_000000_a", "create table orders (i int);", "drop table orders;")
    return shop


def test_a_failure_says_how_the_service_was_before(project: Project, database16: Database) -> None:
    nobody = project.deploy_yml.read_text()
    with api_of(database16) as url:
        serving = nobody.replace("http://127.0.0.1:9", url)

        first = project.run("deploy", "--env", "uat")
        project.deploy_yml.write_text(serving)
        good = project.run("deploy", "--env", "uat")
        project.migration("20260802_000000_b", "alter table orders add broken int;", "select 1;")
        breaks = project.run("deploy", "--env", "uat")
        again = project.run("deploy", "--env", "uat")

    assert "state: 1 tries" not in first.error()[1]
    assert "first deployment: nothing was deployed here before" in first.error()[1]
    assert good.code == 0, good.err
    assert "before this deployment the same tests held" in breaks.error()[1]
    assert "it was failing already before this deployment: GET " in again.error()[1]
    assert "the service fails its smoke tests already" in again.err
