"""stamp, restore, backup.prune and their like: in production only as they were approved."""

import itertools
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.api import open_environment, restore
from pgwindlass.backup.signed import SignedStore
from pgwindlass.database import lock
from pgwindlass.database.connection import Database
from pgwindlass.errors import NotApproved
from pgwindlass.model import Manifest, Plan, Proof
from pgwindlass.secret import Secret
from pgwindlass.signing import Seal
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_postgres import Server
from tests.kit import Project, Ran

pytestmark = [pytest.mark.attack, pytest.mark.sampled(3)]

A, B = "20260801_000000_a", "20260802_000000_b"
VARIABLES = dict.fromkeys(("CONFIRM_HISTORY", "CONFIRM_RESTORE", "CONFIRM_ROLLBACK"), "yes")
NUMBERS = itertools.count()


@dataclass
class World:
    """A production that is worth something, its approver's key, and what an attacker changes."""

    project: Project
    server: Server
    name: str
    key: Path

    def run(self, *arguments: str, **more: str) -> Ran:
        """Run a verb in production, with every variable that may confirm something."""
        verb, *rest = arguments
        return self.project.run(verb, "--env", "production", *rest, **VARIABLES, **more)

    def plan(self, *arguments: str) -> str:
        """Write the plan of a verb to a file, and return its path."""
        file = self.project.home / f"plan-{next(NUMBERS)}.json"
        ran = self.run(*arguments, "--out", str(file))
        assert ran.code == 0, ran.err
        return str(file)

    def approve(self, file: str, environment: str = "production") -> None:
        ran = self.project.run(
            "approve", "--env", environment, "--plan", file, "--key", str(self.key)
        )
        assert ran.code == 0, ran.err

    def approved(self, *arguments: str) -> str:
        """Write the plan of a verb, approve it, and return its path."""
        file = self.plan(*arguments)
        self.approve(file)
        return file

    def forget(self) -> None:
        """Take every approval away."""
        shutil.rmtree(self.project.home / ".windlass" / "approvals", ignore_errors=True)

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.project.url, autocommit=True) as connection:
            *first, last = statements
            for statement in first:
                connection.execute(statement.encode())
            cursor = connection.execute(last.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def files(self) -> DirectoryStore:
        return DirectoryStore(self.project.home / "backups")

    @property
    def store(self) -> SignedStore:
        """The store as who has the key writes it."""
        signing = self.project.settings("production").environment.signing
        assert signing is not None
        seal = Seal(signing, project="shop", environment="production", root=self.project.home)
        return SignedStore(self.files, seal, print)

    def manifests(self) -> list[str]:
        """Return the keys of the manifests, oldest first."""
        return sorted(k for k in self.store.keys("production/") if k.endswith("manifest.json"))

    @property
    def backups(self) -> list[str]:
        """The ids of the backups, oldest first."""
        return [key.split("/")[-2] for key in self.manifests()]

    def everything(self) -> object:
        """Return all that a verb could change: history, databases, what is in the store."""
        return (
            self.execute("select migration_name, checksum from schema_migrations order by 1"),
            self.execute(
                "select datname, oid from pg_database where starts_with(datname, "
                f"'{self.name}') order by 1"
            ),
            [(key, b"".join(self.files.read(key))) for key in self.files.keys("")],
        )


def made(server: Server, home: Path) -> Iterator[World]:
    """Make the world, and take it away afterwards."""
    name = f"doors_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
    project = Project(home / "shop", server.url(name))
    text = project.deploy_yml.read_text()
    text = text.replace("{from: terminal}", "{from: ssh, signers: approvers}")
    text = text.replace('/backups"}', '/backups", keep: {last: 2}}')
    project.deploy_yml.write_text(text)
    key = home / "ann"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text()
    (project.home / "approvers").write_text(f"ann@example.com {public}")
    project.migration(A, "create table a (i int); insert into a values (1);", "drop table a;")
    assert project.run("deploy", "--env", "dev").code == 0
    project.migration(B, "create table b (i int);", "drop table b;")
    yield World(project, server, name, key)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        rows = admin.execute(
            "select datname from pg_database where starts_with(datname, %s)", [name]
        ).fetchall()
        for (found,) in rows:
            admin.execute(f'drop database "{found}" with (force)'.encode())


def filled(world: World) -> None:
    """Give it an edited migration, four backups, one of them pinned, and two other databases."""
    project = world.project
    project.migration(A, "create table a (i int); -- edited", "drop table a;")
    aged(world, 3, 4, 5)
    world.execute(
        f'create database "{world.name}_before_restore_20260101_000000"',
        f"create database {world.name}_other",
    )


def aged(world: World, *days: int) -> None:
    """Take one backup, and write proven copies of it that look so many days old."""
    ran = world.project.run("backup", "--env", "production")
    assert ran.code == 0, ran.err
    kept, key = world.store, world.manifests()[-1].removesuffix("manifest.json")
    manifest = msgspec.json.decode(b"".join(kept.read(key + "manifest.json")), type=Manifest)
    for age in days:
        at = datetime.now(UTC) - timedelta(days=age)
        new = key.replace(manifest.id, f"{at:%Y%m%dT%H%M%SZ}-old{age}")
        parts = []
        for part in manifest.parts:
            kept.write(part.key.replace(key, new), kept.read(part.key))
            parts.append(msgspec.structs.replace(part, key=part.key.replace(key, new)))
        old = msgspec.structs.replace(manifest, key=new, parts=tuple(parts), taken_at=at)
        kept.write(f"{new}manifest.json", [old.canonical()])
        proof = Proof(level="rows", at=at, seconds=1, tables=1, rows=1)
        kept.write(f"{new}proof-rows.json", [proof.canonical()])


@pytest.fixture(scope="module")
def guarded(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Return the world of attacks that all fail, and so leave it as it is."""
    for world in made(servers(16), tmp_path_factory.mktemp("guarded")):
        filled(world)
        yield world


@pytest.fixture
def fresh(server16: Server, tmp_path: Path) -> Iterator[World]:
    """Return a world of its own, without backups."""
    yield from made(server16, tmp_path)


Verb = Callable[[World], tuple[str, ...]]

VERBS: dict[str, Verb] = {
    "stamp": lambda _: ("stamp", "--name", B, "--reason", "x"),
    "unstamp": lambda _: ("unstamp", "--name", A, "--reason", "x"),
    "repair": lambda _: ("repair", "--name", A, "--reason", "x"),
    "restore": lambda _: ("restore",),
    "restore-into": lambda w: ("restore", "--into", f"{w.name}_look"),
    "restore-into-url": lambda w: ("restore", "--into", w.server.url(f"{w.name}_other")),
    "restore-tables": lambda _: ("restore", "--tables", "a"),
    "swap": lambda w: ("restore", "--swap", f"{w.name}_other"),
    "drop-old": lambda _: ("restore", "--drop-old"),
    "prune": lambda _: ("backup.prune",),
    "keep": lambda w: ("backup.keep", w.backups[0], "--reason", "x"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_variable_opens_nothing_that_an_approval_guards(guarded: World, verb: str) -> None:
    guarded.forget()
    before = guarded.everything()

    ran = guarded.run(*VERBS[verb](guarded))

    assert (ran.code, guarded.everything()) == (3, before), ran.err
    assert "of production has no approval" in ran.error()[0]
    assert "--out plan.json, then an approver: invoke approve --env production" in ran.error()[2]


def test_a_baseline_is_no_door_either(database16: Database, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration(A, "create table a (i int);", "drop table a;")

    ran = project.run("baseline", "--env", "production", "--name", A, "--reason", "x", **VARIABLES)

    assert ran.code == 3
    assert "has no approval" in ran.error()[0]
    assert "run it at a terminal: invoke baseline --env production" in ran.error()[2]
    with psycopg.connect(project.url) as connection:
        row = connection.execute("select to_regclass('schema_migrations')").fetchone()
    assert row == (None,)


def test_a_pin_is_not_taken_away_without_an_approval(guarded: World) -> None:
    guarded.forget()
    pin = guarded.manifests()[0].replace("manifest.json", "pin.json")
    guarded.store.write(pin, [b'{"reason":"audit","by":"ann","at":"2026-01-01T00:00:00Z"}'])
    try:
        ran = guarded.run("backup.keep", guarded.backups[0], "--release")

        assert (ran.code, pin in guarded.store.keys("")) == (3, True), ran.err
    finally:
        guarded.store.delete(pin)


OTHERS: dict[str, Verb] = {
    "another reason": lambda _: ("stamp", "--name", B, "--reason", "another"),
    "another verb": lambda _: ("repair", "--name", A, "--reason", "x"),
    "a restore": lambda _: ("restore",),
    "a prune": lambda _: ("backup.prune",),
}


@pytest.mark.parametrize("other", OTHERS)
def test_an_approval_of_something_else_does_not_count(guarded: World, other: str) -> None:
    guarded.forget()
    guarded.approved(*OTHERS[other](guarded))
    before = guarded.everything()

    ran = guarded.run("stamp", "--name", B, "--reason", "x")

    assert (ran.code, guarded.everything()) == (3, before), ran.err
    assert "ann@example.com approved plan " in ran.error()[0]


def test_an_approval_of_a_restore_beside_is_none_of_a_restore_in_place(guarded: World) -> None:
    guarded.forget()
    guarded.approved("restore", "--into", f"{guarded.name}_look")
    before = guarded.everything()

    ran = guarded.run("restore")

    assert (ran.code, guarded.everything()) == (3, before), ran.err


def test_an_approval_of_a_deployment_is_none_of_a_correction(fresh: World) -> None:
    file = str(fresh.project.home / "plan.json")
    assert fresh.run("plan", "--out", file).code == 0
    fresh.approve(file)
    before = fresh.everything()

    by_itself = fresh.run("stamp", "--name", B, "--reason", "x")
    with_file = fresh.run("stamp", "--plan", file)

    assert (by_itself.code, with_file.code) == (3, 2)
    assert "is of a deployment, not of stamp" in with_file.error()[0]
    assert fresh.everything() == before


def test_an_approval_of_a_correction_is_none_of_a_deployment(fresh: World) -> None:
    file = fresh.approved("stamp", "--name", B, "--reason", "x")
    before = fresh.everything()

    by_itself = fresh.run("deploy")
    with_file = fresh.run("deploy", "--plan", file)

    assert (by_itself.code, with_file.code) == (3, 2)
    assert "is of stamp, not of a deployment" in with_file.error()[0]
    assert fresh.everything() == before


def test_a_plan_of_another_verb_is_refused(guarded: World) -> None:
    guarded.forget()
    file = guarded.approved("stamp", "--name", B, "--reason", "x")
    before = guarded.everything()

    for verb in ("unstamp", "repair", "baseline", "restore", "backup.prune", "backup.keep"):
        which = guarded.backups[:1] if verb == "backup.keep" else []
        ran = guarded.run(verb, *which, "--plan", file)
        assert ran.code == 2, ran.err
        assert f"is of stamp, not of {verb}" in ran.error()[0]

    assert guarded.everything() == before


def test_a_plan_of_another_environment_is_refused(guarded: World) -> None:
    guarded.forget()
    file = str(guarded.project.home / "uat.json")
    argv = ("stamp", "--env", "uat", "--name", B, "--reason", "x", "--out", file)
    assert guarded.project.run(*argv).code == 0
    before = guarded.everything()

    ran = guarded.run("stamp", "--plan", file)
    signed = guarded.project.run(
        "approve", "--env", "production", "--plan", file, "--key", str(guarded.key)
    )

    assert (ran.code, signed.code, guarded.everything()) == (2, 2, before)
    assert "the plan is for uat, not for production" in ran.error()[0]


def test_flags_beside_a_plan_do_not_change_what_it_does(guarded: World) -> None:
    guarded.forget()
    file = guarded.approved("stamp", "--name", B, "--reason", "x")
    before = guarded.everything()

    ran = guarded.run("stamp", "--plan", file, "--name", A)

    assert (ran.code, guarded.everything()) == (2, before)
    assert "--name is not what the plan has" in ran.error()[0]


@pytest.mark.parametrize("digest", ["", "0" * 64, "0" * 12])
def test_a_lost_or_other_digest_is_refused(guarded: World, digest: str) -> None:
    guarded.forget()
    file = guarded.approved("restore")
    before = guarded.everything()

    ran = guarded.run("restore", "--plan", file, f"--digest={digest}")

    assert (ran.code, guarded.everything()) == (3, before)
    assert "the plan's file has the digest" in ran.error()[0]


def test_a_plan_that_was_edited_is_not_the_one_that_was_approved(guarded: World) -> None:
    guarded.forget()
    file = Path(guarded.approved("stamp", "--name", B, "--reason", "x"))
    file.write_text(file.read_text().replace('"reason","x"', '"reason","y"'))
    before = guarded.everything()

    ran = guarded.run("stamp", "--plan", str(file))

    assert (ran.code, guarded.everything()) == (3, before), ran.err


def test_what_a_plan_says_is_computed_again_and_not_believed(guarded: World) -> None:
    guarded.forget()
    file = Path(guarded.plan("backup.keep", guarded.backups[0], "--reason", "x"))
    document = json.loads(file.read_text())
    document["correction"]["changes"] = ["nothing at all"]
    file.write_text(json.dumps(document))
    guarded.approve(str(file))
    before = guarded.everything()

    ran = guarded.run("backup.keep", guarded.backups[0], "--plan", str(file))

    assert (ran.code, guarded.everything()) == (3, before)
    assert "not planned, would be done now: " in ran.error()[0]


def test_an_approval_is_used_up(fresh: World) -> None:
    stamp, unstamp = (
        ("stamp", "--name", B, "--reason", "x"),
        ("unstamp", "--name", B, "--reason", "x"),
    )
    file = fresh.approved(*stamp)
    done = fresh.run("stamp", "--plan", file)
    assert done.code == 0, done.err
    assert fresh.run("unstamp", "--plan", fresh.approved(*unstamp)).code == 0
    before = fresh.everything()

    again = fresh.run("stamp", "--plan", file)

    assert (again.code, fresh.everything()) == (3, before)
    assert "the approval of ann@example.com was used by " in again.error()[0]
    recorded = fresh.project.json("history", "--env", "production")["corrections"]
    assert [(c["verb"], c["approvers"]) for c in recorded] == [
        ("unstamp", ["ann@example.com"]),
        ("stamp", ["ann@example.com"]),
    ]
    plan = msgspec.json.decode(Path(file).read_bytes(), type=Plan)
    assert recorded[1]["plan_digest"] == plan.digest


def test_a_restore_in_place_revives_no_approval(fresh: World) -> None:
    aged(fresh)
    file = fresh.approved("restore")
    done = fresh.run("restore", "--plan", file)
    assert done.code == 0, done.err
    fresh.execute("insert into a values (2)")

    again = fresh.run("restore", "--plan", file)

    assert again.code == 3
    assert "was used by " in again.error()[0]
    assert fresh.execute("select count(*) from a") == [(2,)]
    (recorded,) = fresh.project.json("history", "--env", "production")["corrections"]
    assert (recorded["verb"], recorded["approvers"]) == ("restore", ["ann@example.com"])


def test_python_is_no_door_either(guarded: World) -> None:
    guarded.forget()
    before = guarded.everything()

    with (
        open_environment(guarded.project.settings("production")) as environment,
        pytest.raises(NotApproved, match="of production has no approval"),
    ):
        restore(environment, into=f"{guarded.name}_look")

    assert guarded.everything() == before


def test_a_line_of_a_reason_does_not_pass_for_what_is_done(guarded: World) -> None:
    file = guarded.project.home / "spoofed.json"
    reason = "x\n  does       nothing at all"

    ran = guarded.run("stamp", "--name", B, "--reason", reason, "--out", str(file))

    assert (ran.code, file.exists()) == (2, False)
    assert "--reason holds a line break" in ran.error()[0]


def test_what_changes_while_it_waits_for_the_lock_is_refused(fresh: World) -> None:
    file = fresh.approved("stamp", "--name", B, "--reason", "x")
    waiting = (
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and application_name like 'windlass/%/lock' and application_name not like '%other%'"
    )
    with ThreadPoolExecutor(1) as pool:
        with lock.hold(Database(url=Secret(fresh.project.url), deployment_id="other"), wait=1):
            running = pool.submit(fresh.run, "stamp", "--plan", file)
            deadline = time.monotonic() + 20
            while fresh.execute(waiting) == [(0,)] and time.monotonic() < deadline:
                time.sleep(0.05)
            changed_schema(fresh)
        ran = running.result()

    assert (ran.code, fresh.project.applied()) == (3, [A]), ran.err
    assert "the schema gained" in ran.error()[0]
    assert fresh.project.json("history", "--env", "production")["corrections"] == []


def changed_history(world: World) -> None:
    world.execute("update schema_migrations set checksum = 'sha256:0'")


def changed_schema(world: World) -> None:
    world.execute("create table c (i int)")


def changed_file(world: World) -> None:
    world.project.migration(B, "create table b (i bigint);", "drop table b;")


def changed_policy(world: World) -> None:
    text = world.project.deploy_yml.read_text()
    world.project.deploy_yml.write_text(
        text.replace("signers: approvers}", "signers: ./approvers}")
    )


def another_manifest(world: World) -> None:
    key = world.manifests()[-1]
    manifest = msgspec.json.decode(b"".join(world.store.read(key)), type=Manifest)
    part = msgspec.structs.replace(manifest.parts[0], sha256="0" * 64)
    changed = msgspec.structs.replace(manifest, parts=(part, *manifest.parts[1:]))
    world.store.write(key, [changed.canonical()])


def another_backup(world: World) -> None:
    aged(world)


def another_pin(world: World) -> None:
    pin = world.manifests()[0].replace("manifest.json", "pin.json")
    world.store.write(pin, [b'{"reason":"audit","by":"eve","at":"2026-01-01T00:00:00Z"}'])


def another_database(world: World) -> None:
    other = f"{world.name}_other"
    world.execute(f"drop database {other}", f"create database {other}")


def another_old_one(world: World) -> None:
    world.execute(f'create database "{world.name}_before_restore_20260102_000000"')


def another_of_its_name(world: World) -> None:
    old = f'"{world.name}_before_restore_20260101_000000"'
    world.execute(f"drop database {old}", f"create database {old}")


SINCE: list[tuple[str, Callable[[World], None], str]] = [
    ("stamp", changed_history, f"{A}: checksum changed in the history"),
    ("stamp", changed_schema, "the schema gained"),
    ("stamp", changed_file, "not planned, would be done now: record"),
    ("stamp", changed_policy, "deploy.yml: approval changed"),
    ("unstamp", changed_history, f"{A}: checksum changed in the history"),
    ("restore", another_manifest, "planned, and not done now: restore backup"),
    ("restore", changed_history, f"{A}: checksum changed in the history"),
    ("swap", another_database, "planned, and not done now: put"),
    ("drop-old", another_old_one, "not planned, would be done now: drop the database"),
    ("drop-old", another_of_its_name, "planned, and not done now: drop the database"),
    ("prune", another_backup, "planned, and not done now: remove backup"),
    ("prune", another_pin, "planned, and not done now: remove backup"),
    ("keep", another_pin, "planned, and not done now: pin backup"),
]


@pytest.mark.parametrize(
    ("verb", "change", "words"), SINCE, ids=[f"{v}-{c.__name__}" for v, c, _ in SINCE]
)
def test_what_changed_since_the_approval_is_refused(
    fresh: World, verb: str, change: Callable[[World], None], words: str
) -> None:
    if verb in ("restore", "swap", "drop-old", "prune", "keep"):
        filled(fresh)
    file = fresh.approved(*VERBS[verb](fresh))
    change(fresh)
    before = fresh.everything()

    which = fresh.backups[:1] if verb == "keep" else []
    ran = fresh.run(VERBS[verb](fresh)[0], *which, "--plan", file)

    assert (ran.code, fresh.everything()) == (3, before), ran.err
    assert words in ran.error()[0]


def test_while_it_waits_for_signatures_nothing_is_done(guarded: World) -> None:
    guarded.forget()
    before = guarded.everything()

    ran = guarded.run("stamp", "--name", B, "--reason", "x", "--wait-for-approval", "1ms")

    assert (ran.code, guarded.everything()) == (3, before), ran.err
    assert "has no approval, after 1ms of waiting" in ran.error()[0]
