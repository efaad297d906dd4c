"""restore, drill, rehearse, plan and deploy, each against a bucket that somebody wrote into."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.backup import dump
from pgwindlass.config.sections import SigningConfig
from pgwindlass.database.connection import Database
from pgwindlass.model import Manifest, Rehearsal, Sealed
from pgwindlass.secret import Secret
from pgwindlass.signing import Seal
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import CONFIG, HISTORY, silent
from tests.fix_postgres import Server
from tests.kit import Project, new_key, signing_keys

pytestmark = [pytest.mark.attack, pytest.mark.sampled(3)]

A = "20260801_000000_create_orders"
SIGNING = '    signing: {signers: signers, key: "${BACKUP_SIGNING_KEY:-}"}\n'
SIGNED = f"    tier: acceptance\n{SIGNING}"


@pytest.fixture(scope="module")
def deployed(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A UAT with a signing key, deployed once and backed up once by hand, before."""
    server = servers(16)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("create database verbs_origin")
    home = tmp_path_factory.mktemp("verbs") / "shop"
    project = Project(home, server.url("verbs_origin"))
    project.migration(A, "create table orders (id int);", "drop table orders;")
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("    tier: acceptance\n", SIGNED))
    (home / "signers").write_text(f"uat {new_key(home / 'uat-key')}")
    project.env["BACKUP_SIGNING_KEY"] = (home / "uat-key").read_text()
    assert project.run("backup", "--env", "uat").code == 0
    ran = project.run("deploy", "--env", "uat", "--yes")
    assert ran.code == 0, ran.err
    project.migration("20260802_000000_total", "alter table orders add total int;", "")
    yield project
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("drop database verbs_origin with (force)")


@pytest.fixture
def project(deployed: Project) -> Iterator[Project]:
    """Yield the project; its store is put back as it was."""
    kept = deployed.home / "kept"
    shutil.copytree(deployed.home / "backups", kept)
    yield deployed
    shutil.rmtree(deployed.home / "backups")
    kept.rename(deployed.home / "backups")


def folders(project: Project) -> list[Path]:
    """Return the backups' folders, the newest first."""
    return sorted(
        (p.parent for p in project.home.rglob("backups/uat/*/*/manifest.json")), reverse=True
    )


def manifest(folder: Path) -> Manifest:
    sealed = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Sealed)
    return msgspec.json.decode(sealed.document, type=Manifest)


def replace_with_my_database(project: Project, tmp_path: Path) -> None:
    """Replace the newest backup, manifest and archive, by a consistent one with a table more."""
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("create table hacked (i int)")
    try:
        database = Database(url=Secret(project.url), deployment_id="x")
        order = dump.Order(environment="uat", deployment="x", history=HISTORY.tables)
        newest = folders(project)[0]
        genuine = manifest(newest)
        forged = dump.take(
            database,
            DirectoryStore(tmp_path / "mine"),
            order,
            CONFIG,
            now=lambda: genuine.taken_at,
            progress=silent,
        )
    finally:
        with psycopg.connect(project.url, autocommit=True) as connection:
            connection.execute("drop table hacked")
    (own,), (part,) = forged.archives, genuine.archives
    shutil.copy(tmp_path / "mine" / own.key, project.home / "backups" / part.key)
    mine = msgspec.structs.replace(own, key=part.key)
    forged = msgspec.structs.replace(forged, key=genuine.key, parts=(mine,))
    (newest / "manifest.json").write_bytes(forged.canonical())


@pytest.mark.parametrize(
    "arguments",
    [
        ("restore", "--into", "verbs_hacked"),
        ("restore", "--dry-run"),
        ("backup.drill",),
        ("backup.verify", "--level", "checksum"),
    ],
    ids=" ".join,
)
def test_a_consistent_forgery_of_the_newest_backup_is_never_the_latest(
    project: Project, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    replace_with_my_database(project, tmp_path)
    newest, oldest = folders(project)[0], folders(project)[-1]

    ran = project.run(*arguments, "--env", "uat")

    assert "manifest.json is not trusted: it is not signed" in ran.err
    if arguments[0] == "restore":  # the journal knows that there was a newer one
        assert ran.code == 3, ran.err
        assert f"the newest backup that the journal has, {newest.name}, is not in" in ran.err
    else:
        assert ran.code == 0, ran.err
        assert oldest.name in ran.out
    named = project.run(*arguments[:1], "--env", "uat", *named_by(arguments[0], newest.name))
    assert named.code == 1, named.err
    assert "is not trusted" in named.error()[0]
    assert "verbs_hacked" not in databases(project)


def named_by(verb: str, name: str) -> tuple[str, ...]:
    return ("--from", name, "--into", "verbs_hacked") if verb == "restore" else ("--which", name)


def databases(project: Project) -> set[str]:
    with psycopg.connect(project.url) as connection:
        return {row[0] for row in connection.execute("select datname from pg_database").fetchall()}


def test_a_forged_rehearsal_is_in_no_plan(project: Project) -> None:
    shown = project.json("plan", "--env", "uat")
    backup = manifest(folders(project)[0])
    rehearsal = Rehearsal(
        plan_digest=shown["digest"],
        backup=backup.id,
        backup_taken_at=backup.taken_at,
        server="all is well",
        at=backup.taken_at,
        backup_seconds=0.0,
        proof_seconds=0.0,
        restore_seconds=0.0,
        migrations=(),
    )
    name = f"rehearsal-{shown['digest'][:12]}.json"
    (folders(project)[0] / name).write_bytes(rehearsal.canonical())

    ran = project.run("plan", "--env", "uat")

    assert ran.code == 0, ran.err
    assert f"{name} is not trusted: it is not signed" in ran.err
    assert "all is well" not in ran.out
    lint = project.run("lint", "--env", "uat")
    assert "all is well" not in lint.out + lint.err


def test_a_forgery_by_who_has_the_key_differs_from_what_the_journal_has(project: Project) -> None:
    newest = folders(project)[0]
    genuine = manifest(newest)
    config = SigningConfig(signers="signers", key_file=str(project.home / "uat-key"))
    seal = Seal(config, project="shop", environment="uat", root=project.home)
    other = msgspec.structs.replace(genuine, row_counts=())
    key = f"{genuine.key}manifest.json"
    (newest / "manifest.json").write_bytes(seal.seal("manifest", key, other.canonical()))

    ran = project.run("restore", "--env", "uat", "--into", "verbs_hacked")

    assert ran.code == 1
    assert f"the manifest of {newest.name} is not the one that the journal has" in ran.error()[0]
    assert "verbs_hacked" not in databases(project)


def test_an_older_genuine_backup_is_not_the_latest_where_the_newer_is_gone(
    project: Project,
) -> None:
    newest, *_, oldest = folders(project)
    shutil.rmtree(newest)

    ran = project.run("restore", "--env", "uat", "--into", "verbs_hacked")

    assert ran.code == 3, ran.err
    assert f"the newest backup that the journal has, {newest.name}, is not in" in ran.error()[0]
    assert f"--from {oldest.name}" in ran.error()[2]
    shown = project.run("restore", "--env", "uat", "--from", oldest.name, "--dry-run")
    assert shown.code == 0, shown.err


def test_a_job_without_the_key_takes_no_backup_and_says_why_first(project: Project) -> None:
    before = folders(project)

    backup = project.run("backup", "--env", "uat", BACKUP_SIGNING_KEY="")
    deploy = project.run("deploy", "--env", "uat", "--yes", BACKUP_SIGNING_KEY="")

    for ran in (backup, deploy):
        assert ran.code == 2, ran.err
        assert "signing: there is no key here to sign with" in ran.err
    assert folders(project) == before
    assert project.run("plan", "--env", "uat", BACKUP_SIGNING_KEY="").code == 0
    assert project.run("backup.list", "--env", "uat", BACKUP_SIGNING_KEY="").code == 0


def test_a_key_that_the_signers_do_not_list_is_found_before_anything(project: Project) -> None:
    foreign = (signing_keys() / "backup-key").read_text()

    ran = project.run("deploy", "--env", "uat", "--yes", BACKUP_SIGNING_KEY=foreign)

    assert ran.code == 3
    assert "preflight: signing: a signature made just now is not trusted" in ran.error()[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan",),
        ("deploy",),
        ("backup",),
        ("restore", "--into", "verbs_hacked"),
        ("backup.drill",),
        ("rehearse",),
        ("backup.list",),
    ],
    ids=" ".join,
)
def test_production_takes_no_unsigned_store(
    project: Project, database16: Database, arguments: tuple[str, ...]
) -> None:
    own = database16.url.reveal()  # the project's own says that it is uat
    text = project.deploy_yml.read_text()
    line = next(line for line in text.splitlines(keepends=True) if "backup-signers" in line)
    project.deploy_yml.write_text(text.replace(line, ""))
    try:
        ran = project.run(*arguments, "--env", "production", DATABASE_URL=own)
    finally:
        project.deploy_yml.write_text(text)

    assert ran.code == 2, ran.err
    assert "environments.production.signing: missing" in ran.error()[0]
    assert "ssh-keygen -t ed25519" in ran.error()[2]
    assert len(ran.error()) == 3
