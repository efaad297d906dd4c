"""backup.prune, backup.keep, backup.drill, and what status and doctor say of drills."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from pgwindlass.backup import catalog, prune, retention
from pgwindlass.database.connection import Database
from pgwindlass.errors import StoreFailed, Unchanged
from pgwindlass.model import Manifest, Proof
from pgwindlass.stores.directory import DirectoryStore
from tests.kit import Project

A = "20260801_000000_a"


@pytest.fixture
def project(tmp_path: Path, database16: Database) -> Project:
    found = Project(tmp_path / "shop", database16.url.reveal())
    found.migration(A, "create table a (i int);", "drop table a;")
    return found


def write_keep(project: Project, rules: str) -> None:
    text = project.deploy_yml.read_text()
    line = next(one for one in text.splitlines() if one.startswith("backups: "))
    project.deploy_yml.write_text(text.replace(line, line[:-1] + f", {rules}}}"))


def store(project: Project) -> DirectoryStore:
    return DirectoryStore(project.home / "backups")


def aged(project: Project, *days: int, proven: bool = True) -> list[str]:
    """Take one backup, and write copies of it that look so many days old; return all ids."""
    taken = project.json("backup", "--env", "uat")["manifest"]
    kept = store(project)
    manifest = msgspec.convert(taken, Manifest)
    ids = [manifest.id]
    for age in days:
        at = datetime.now(UTC) - timedelta(days=age)
        key = manifest.key.replace(manifest.id, f"{at:%Y%m%dT%H%M%SZ}-old{age}")
        parts = []
        for part in manifest.parts:
            name = part.key.replace(manifest.key, key)
            kept.write(name, kept.read(part.key))
            parts.append(msgspec.structs.replace(part, key=name))
        old = msgspec.structs.replace(manifest, key=key, parts=tuple(parts), taken_at=at)
        kept.write(f"{key}manifest.json", [old.canonical()])
        if proven:
            proof = Proof(level="rows", at=at, seconds=1, tables=1, rows=1)
            kept.write(f"{key}proof-rows.json", [proof.canonical()])
        ids.append(old.id)
    return ids


def ids(project: Project) -> list[str]:
    found = project.json("backup.list", "--env", "uat")
    return [Path(one["manifest"]["key"]).name for one in found]


def test_old_ones_go_after_a_proven_success(project: Project) -> None:
    new, *old = aged(project, 1, 2, 3)
    write_keep(project, "keep: {last: 2}")

    ran = project.run("backup", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "; 3 old ones pruned" in ran.out
    assert ids(project)[1:] == [new]
    assert not any(one in key for one in old for key in store(project).keys(""))


def test_a_deployment_prunes_too_and_keeps_what_undoes_it(project: Project) -> None:
    aged(project, 1, 2, 3)
    write_keep(project, "keep: {last: 1}")

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert re.search(r"✓ proof +read back: checksum; 3 old ones pruned", ran.err)
    assert len(ids(project)) == 2


def test_the_dry_run_says_why_each_stays_and_removes_nothing(project: Project) -> None:
    new, day, month, _ = aged(project, 1, 40, 41)
    write_keep(project, "keep: {last: 2}")
    project.run("backup.keep", month, "--env", "uat", "--reason", "before the rewrite")

    ran = project.run("backup.prune", "--env", "uat", "--dry-run")

    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == f"{new}  last 2"
    assert lines[1] == f"{day}  last 2"
    assert lines[2].startswith(f"{month}  pinned by ")
    assert lines[3].endswith("  would go")
    assert lines[4] == "1 would go, 3 stay"
    assert len(ids(project)) == 4
    assert project.run("backup.prune", "--env", "uat").code == 0
    assert ids(project) == [new, day, month]


def test_while_the_newest_is_not_proven_nothing_goes(project: Project) -> None:
    aged(project, 1, 2, 3)
    write_keep(project, "keep: {last: 2}")
    newest = ids(project)[0]
    (proof,) = (key for key in store(project).keys("") if newest in key and "proof" in key)
    store(project).delete(proof)

    ran = project.run("backup.prune", "--env", "uat")

    assert ran.code == 3
    assert f"the newest backup, {newest}, is not proven" in ran.error()[0]
    assert ran.error()[2] == "  next:  invoke backup.verify --env uat"
    assert len(ids(project)) == 4


def test_without_rules_nothing_is_pruned(project: Project) -> None:
    ran = project.run("backup.prune", "--env", "uat")

    assert ran.code == 2
    assert "keep: {last: 5" in ran.error()[2]


def test_backups_of_another_database_are_never_touched(project: Project) -> None:
    aged(project, 1, 2, 3)
    kept = store(project)
    other = [key.replace("uat/", "uat/other/", 1) for key in kept.keys("")]
    for key in other:
        kept.write(key, [b"not ours"])
    write_keep(project, "keep: {last: 1}")

    assert project.run("backup.prune", "--env", "uat").code == 0

    assert list(kept.keys("uat/other/")) == sorted(other)


def test_a_pin_is_taken_away_again(project: Project) -> None:
    (new,) = aged(project)

    assert project.run("backup.keep", new, "--env", "uat").code == 2  # without a reason
    assert project.run("backup.keep", new, "--env", "uat", "--reason", "audit").code == 0
    assert "pinned: audit" in project.run("backup.list", "--env", "uat").out
    assert project.run("backup.keep", new, "--env", "uat", "--release").code == 0
    assert "pinned" not in project.run("backup.list", "--env", "uat").out
    again = project.run("backup.keep", new, "--env", "uat", "--release")
    assert (again.code, again.error()[0]) == (3, f"✗ backup {new} is not pinned")


@pytest.mark.parametrize("removed", range(1, 5))
def test_a_pruning_that_was_cut_off_is_finished_by_the_next(
    project: Project, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    new, day, old = aged(project, 1, 2)
    kept = store(project)
    (gone,) = (one for one in listed(kept) if one.manifest.id == old)
    delete, left = kept.delete, [removed]

    def dies(key: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StoreFailed("killed", state=Unchanged("the end"), next_step="")
        delete(key)

    monkeypatch.setattr(kept, "delete", dies)
    with pytest.raises(StoreFailed) as caught:
        prune.remove_backups(kept, (gone,), done=lambda _manifest: None)
    assert caught.value.state == "0 of 1 backups are removed; the next pruning finishes it; the end"
    assert ids(project) == [new, day]  # the half-removed one is no backup any more

    write_keep(project, "keep: {last: 2}")
    assert project.run("backup.prune", "--env", "uat").code == 0
    assert not any(old in key for key in store(project).keys(""))
    assert ids(project) == [new, day]


def listed(kept: DirectoryStore) -> tuple[retention.Backup, ...]:
    return catalog.backups(kept, environment="uat")


def test_a_store_that_does_not_delete_ends_no_deployment(project: Project) -> None:
    aged(project, 1, 2, 3)
    write_keep(project, "keep: {last: 1}")
    pruned = next(key for key in store(project).keys("") if "old3" in key and "manifest" in key)
    (project.home / "backups" / pruned).write_text("{")

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "old ones could not be pruned" in ran.err
    assert "is not a readable manifest" in ran.err


def test_a_drill_is_recorded_and_overdue_ones_are_told(project: Project) -> None:
    note = "no restore drill was ever run: invoke backup.drill"
    assert project.run("deploy", "--env", "uat").code == 0
    assert note not in project.run("status", "--env", "uat").out  # uat asks for none
    assert note in project.run("status", "--env", "production").out

    (new,) = aged(project)[:1]
    ran = project.run("backup.drill", "--env", "uat")
    assert ran.code == 0, ran.err
    assert re.match(rf"{new}: proven by restore into embedded PostgreSQL 16, \d+ rows", ran.out)
    assert "proven by restore" in project.run("backup.list", "--env", "uat").out


def test_a_drill_that_is_too_long_ago_is_told(project: Project) -> None:
    write_keep(project, "drill: 7d")
    aged(project)
    key = next(key for key in store(project).keys("") if key.endswith("manifest.json"))
    at = datetime.now(UTC) - timedelta(days=9)
    proof = Proof(level="restore", at=at, seconds=61, tables=1, rows=5)
    store(project).write(key.replace("manifest", "proof-restore"), [proof.canonical()])

    said = project.run("status", "--env", "uat").out

    assert "the last drill was 9 days ago, at most 7 are allowed: invoke backup.drill" in said
    checks = {one["name"]: one for one in project.json("doctor", "--env", "uat")}
    assert checks["drill"]["found"].startswith("the last drill was 9 days ago")
    assert checks["drill"]["problem"] == ""  # a warning ends no deployment
    project.run("backup.drill", "--env", "uat")
    assert "drill" not in project.run("status", "--env", "uat").out


def test_an_environment_may_ask_for_more_proof_and_not_for_less(project: Project) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("tier: acceptance\n", "tier: acceptance\n    proof: restore\n")
    )

    ran = project.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "restored into embedded PostgreSQL 16" in ran.err
    assert json.loads(project.run("backup.list", "--env", "uat", "--json").out)[0]["proofs"]
    project.deploy_yml.write_text(
        text.replace("tier: production\n", "tier: production\n    proof: checksum\n")
    )
    laxer = project.run("plan", "--env", "production")
    assert laxer.code == 2
    assert '"checksum" is laxer than the production tier, which asks for "rows"' in laxer.err
