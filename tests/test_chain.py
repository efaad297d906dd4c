"""The journal as a chain of events: on real PostgreSQL, mirrored in a store, and attacked."""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

import pgwindlass
from pgwindlass.database import errors
from pgwindlass.database.connection import Database
from pgwindlass.deployment import events
from pgwindlass.errors import StepFailed
from pgwindlass.plan import chain
from pgwindlass.secret import Secret
from tests.fix_postgres import Server
from tests.kit import Project, new_key

pytestmark = pytest.mark.sampled(3)

A = "20260801_000000_a"
B = "20260802_000000_b"
C = "20260803_000000_c"
NewDatabase = Callable[[Server], Database]


def deployed(home: Path, url: str) -> Project:
    """Return a project whose first migration is deployed."""
    shop = Project(home / "shop", url)
    shop.migration(A, "create table a (i int)", "drop table a;")
    assert shop.run("deploy", "--env", "uat").code == 0
    return shop


@pytest.fixture
def fresh(tmp_path: Path, database16: Database) -> Project:
    """Return one that a test may spoil."""
    return deployed(tmp_path, database16.url.reveal())


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, servers: Callable[[int], Server]
) -> Iterator[Project]:
    """Return one for all tests that leave a chain that holds."""
    server, name = servers(16), f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
        yield deployed(tmp_path_factory.mktemp("chain"), server.url(name))
        admin.execute(f"drop database {name} with (force)".encode())


def database_of(project: Project) -> Database:
    return Database(url=Secret(project.url), deployment_id=secrets.token_hex(4))


def execute(project: Project, *statements: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(project.url, autocommit=True) as connection:
        *first, last = statements
        for statement in first:
            connection.execute(statement.encode())
        cursor = connection.execute(last.encode())
        return cursor.fetchall() if cursor.description else []


def kinds(project: Project) -> list[str]:
    return [row[0] for row in execute(project, "select kind from windlass.event order by id")]


def mirror(project: Project, environment: str = "uat") -> list[Path]:
    return sorted((project.home / "backups/journal" / environment).glob("events-*.json"))


def mirrored(project: Project) -> list[int]:
    return [
        event["number"]
        for file in mirror(project)
        for event in json.loads(file.read_text())["events"]
    ]


def verdict(project: Project) -> tuple[int, str]:
    ran = project.run("history", "--env", "uat", "--verify")
    return ran.code, ran.out


@contextmanager
def kept(project: Project) -> Iterator[None]:
    """Put the tables of the journal, and the mirror, back as they were."""
    tables = ("event", "deployment", "step", "correction")
    execute(project, *(f"create table windlass_{t} as table windlass.{t}" for t in tables))
    files = {file: file.read_text() for file in mirror(project)}
    try:
        yield
    finally:
        execute(
            project,
            "truncate windlass.event, windlass.deployment, windlass.step, windlass.correction",
            *(
                f"insert into windlass.{t} overriding system value table windlass_{t}"
                for t in ("event", "deployment", "step", "correction")
            ),
            *(f"drop table windlass_{t}" for t in tables),
        )
        for file, text in files.items():
            file.write_text(text)


def test_everything_that_happens_is_an_event_in_the_database_and_the_store(
    fresh: Project,
) -> None:
    assert kinds(fresh)[:2] == ["chain-begun", "deployment-begun"]
    assert kinds(fresh)[-1] == "deployment-ended"
    steps = execute(fresh, "select count(*) from windlass.step")[0][0]
    assert kinds(fresh).count("step-begun") == kinds(fresh).count("step-ended") == steps
    assert mirrored(fresh) == list(range(1, len(kinds(fresh)) + 1))

    fresh.migration(B, "create table b (i int)")
    assert fresh.run("stamp", "--env", "uat", "--name", B, "--reason", "by hand",
                       CONFIRM_HISTORY="yes").code == 0  # fmt: skip
    assert kinds(fresh)[-1] == "correction"
    code, out = verdict(fresh)

    assert (code, "OK" in out) == (0, True), out
    assert fresh.json("history", "--env", "uat", "--verify")["events"] == len(kinds(fresh))


ATTACKS = {
    "an event is edited": (
        "update windlass.event set record = record || '{\"ordinal\": 9}' where id = 3",
        "event 3 (",
    ),
    "who did it is edited": (
        "update windlass.event set record = jsonb_set(record, "
        "'{deployment,origin,deployer}', '\"eve\"') where id = 2",
        "event 2 (deployment-begun) was edited",
    ),
    "its time is edited": (
        "update windlass.event set at = at - interval '1 day' where id = 4",
        "event 4 (",
    ),
    "an event is removed": ("delete from windlass.event where id = 5", "event 5 removed"),
    "the first event is removed": ("delete from windlass.event where id = 1", "event 1 removed"),
    "an event is inserted": (
        "alter table windlass.event alter column id drop identity if exists;"
        "update windlass.event set id = id + 1000 where id > 5;"
        "update windlass.event set id = id - 999 where id > 1000;"
        "insert into windlass.event overriding system value select 6, at, kind, deployment_id, "
        "record, previous, hash from windlass.event where id = 5",
        "event 6 (",
    ),
    "two events are exchanged": (
        "alter table windlass.event alter column id drop identity if exists;"
        "update windlass.event set id = -1 where id = 5;"
        "update windlass.event set id = 5 where id = 6;"
        "update windlass.event set id = 6 where id = -1",
        "event 5 (",
    ),
    "the end is cut off": (
        "delete from windlass.event where id > 6",
        "the end was cut off: the database ends with event 6",
    ),
    "all events are removed": ("truncate windlass.event", "the end was cut off"),
    "a deployment's row is edited": (
        "update windlass.deployment set status = 'failed'",
        "it was edited",
    ),
    "its error is edited": (
        'update windlass.deployment set record = record || \'{"break_glass": "x"}\'',
        "it was edited",
    ),
    "a step's row is edited": (
        'update windlass.step set result = result || \'{"detail": "x"}\' where ordinal = 1',
        "the row of step 1 of deployment",
    ),
    "a step's row is removed": (
        "delete from windlass.step where ordinal = 2",
        "the row of step 2 of deployment",
    ),
    "a deployment is invented": (
        "insert into windlass.deployment (id, started_at, status, record, plan) "
        "select 'x', started_at, status, record, plan from windlass.deployment limit 1",
        "1 deployments have no event",
    ),
    "a correction is invented": (
        "insert into windlass.correction (at, record) values (now(), '{}')",
        "1 corrections have no event",
    ),
}


@pytest.mark.attack
def test_every_change_of_the_chain_or_the_journal_is_named(project: Project) -> None:
    for name, (statements, says) in ATTACKS.items():
        with kept(project):
            execute(project, *statements.split(";"))
            code, out = verdict(project)

            assert code == 1, f"{name}: {out}"
            assert "BROKEN" in out and says in out, f"{name}: {out}"
    assert verdict(project)[0] == 0  # put back, it holds again


@pytest.mark.attack
def test_a_chain_that_is_written_anew_is_told_by_the_store(project: Project) -> None:
    with kept(project), psycopg.connect(project.url, autocommit=True) as connection:
        forged: list[dict[str, Any]] = [
            {"kind": e.kind, "deployment": e.deployment, "record": e.record, "at": e.at}
            for e in events.read_events(connection)
        ]
        forged[1]["record"]["deployment"]["origin"]["deployer"] = "eve"
        connection.execute("truncate windlass.event")
        head = (0, "")
        for each in forged:
            event = chain.follow(head, **each)
            events.insert(connection, event)
            head = (event.number, event.hash)
        connection.execute(
            "update windlass.deployment set record = jsonb_set(record, "
            "'{origin,deployer}', '\"eve\"')"
        )
        code, out = verdict(project)

        assert code == 1
        assert "event 2 is deployment-begun" in out and "in the store" in out


@pytest.mark.attack
def test_a_mirror_that_forks_or_is_no_json_is_told(project: Project) -> None:
    first = mirror(project)[0]
    with kept(project):
        document = json.loads(first.read_text())
        document["events"][1]["hash"] = "0" * 64
        forged = first.with_name("events-0000000002x0000000003x0000000000000000.json")
        forged.write_text(json.dumps(document))
        assert "the store has two events 2" in verdict(project)[1]
        forged.write_text("not this")
        code, out = verdict(project)
        forged.unlink()

        assert code == 0 and "holds no events" in out


@pytest.mark.attack
def test_where_the_environment_signs_the_mirror_is_signed_and_a_forged_one_not_used(
    fresh: Project,
) -> None:
    project, key = fresh, fresh.home / "key"
    (project.home / "signers").write_text(f"uat {new_key(key)}")
    signing = f'    signing: {{signers: "{project.home}/signers", key_file: "{key}"}}\n'
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(
        text.replace("    tier: acceptance\n", f"    tier: acceptance\n{signing}")
    )
    for file in mirror(project):  # from before it signed
        file.unlink()
    project.migration(B, "create table b (i int)", "drop table b;")
    assert project.run("deploy", "--env", "uat").code == 0
    signed = mirror(project)[-1]
    assert {"binding", "document", "signature"} == json.loads(signed.read_text()).keys()
    code, out = verdict(project)
    assert code == 0 and f"{len(kinds(project))} of them in the store" in out

    content = signed.read_text()
    signed.write_text(content.replace("deployment-ended", "deployment-begun"))
    code, out = verdict(project)
    assert code == 0 and "is not trusted" in out
    moved = signed.with_name("events-0000000900x0000000900x0123456789abcdef.json")
    moved.write_text(content)  # a signature is of its key
    assert "is not trusted" in project.run("history", "--env", "uat", "--from-store").out


def test_the_store_tells_the_story_of_a_database_that_is_lost(
    project: Project, server16: Server
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(project.url)["dbname"]
    with psycopg.connect(server16.url(), autocommit=True) as admin:
        admin.execute(f'alter database "{name}" rename to "{name}_lost"'.encode())
        try:
            lost = project.run("history", "--env", "uat")
            ran = project.run("history", "--env", "uat", "--from-store")
        finally:
            admin.execute(f'alter database "{name}_lost" rename to "{name}"'.encode())

    assert lost.code == 1
    assert "invoke history --env uat --from-store" in lost.error()[2]
    assert ran.code == 0
    assert f"deployed ({A})" in ran.out
    assert "the database was not asked" in ran.out


def test_a_refusal_before_the_lock_is_an_event(fresh: Project) -> None:
    fresh.migration(B, "truncate a", "select 1;")
    assert fresh.run("deploy", "--env", "uat").code == 3
    changed = fresh.run("deploy", "--env", "uat", "--plan", plan_of(fresh), "--digest", "0" * 64)
    assert changed.code == 3
    assert fresh.run("rollback", "--env", "uat", "--name", A).code == 3  # not confirmed
    identity = fresh.run("deploy", "--env", "dev")
    assert identity.code == 3
    with (
        pgwindlass.open_environment(fresh.settings("uat")) as uat,
        pytest.raises(pgwindlass.Refused, match="TRUNCATE"),
    ):
        pgwindlass.deploy(uat)
    with pgwindlass.open_environment(fresh.settings("uat")) as uat:
        assert pgwindlass.verify_history(uat).broken == ""
        assert pgwindlass.lift_pause(uat, "none") is None
        assert pgwindlass.pause(uat, "a test").reason == "a test"
        assert pgwindlass.lift_pause(uat, "over") is not None

    refused = execute(
        fresh,
        "select record->>'task', record->>'refusal', record->>'what', record->'origin'->>'host' "
        "from windlass.event where kind = 'refused' order by id",
    )
    assert [(task, kind) for task, kind, _, _ in refused] == [
        ("deploy", "Refused"),
        ("deploy", "PlanChanged"),
        ("rollback", "Refused"),
        ("deploy", "Refused"),
        ("deploy", "Refused"),
    ]
    assert "TRUNCATE" in refused[0][2] and all(row[3] for row in refused)
    assert verdict(fresh)[0] == 0


def plan_of(project: Project) -> str:
    assert project.run("plan", "--env", "uat", "--out", "plan.json").code == 0
    return "plan.json"


def test_a_refusal_creates_nothing_and_becomes_no_other_error(
    fresh: Project, server16: Server, new_database: NewDatabase, tmp_path: Path
) -> None:
    empty = Project(tmp_path / "empty", new_database(server16).url.reveal())
    empty.migration(A, "truncate nothing", "select 1;")
    bare = empty.run("deploy", "--env", "uat")
    assert bare.code == 3
    assert execute(empty, "select to_regnamespace('windlass') is null") == [(True,)]

    fresh.migration(B, "truncate a", "select 1;")
    before = kinds(fresh)
    with psycopg.connect(fresh.url) as holder:  # somebody has the table, or it is read-only
        holder.execute("lock table windlass.event in access exclusive mode")
        held = fresh.run("deploy", "--env", "uat")
    execute(fresh, "alter table windlass.event rename to elsewhere")
    gone = fresh.run("deploy", "--env", "uat")
    execute(fresh, "alter table windlass.elsewhere rename to event")

    for ran in (held, gone):
        assert ran.code == 3
        assert "TRUNCATE" in ran.error()[0]
    assert kinds(fresh) == before


def test_many_writers_at_once_make_one_chain(project: Project) -> None:
    database = database_of(project)
    before = len(kinds(project))
    barrier = threading.Barrier(6)

    def write(number: int) -> None:
        barrier.wait()
        for turn in range(5):
            events.append_now(database, "noted", {"writer": number, "turn": turn})

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert len(kinds(project)) == before + 30
    assert verdict(project)[0] == 0


def test_what_is_written_a_second_time_is_one_event(project: Project) -> None:
    database = database_of(project)
    before = len(kinds(project))

    for _ in range(2):
        events.append_now(database, "noted", {"seconds": 1e-7, "text": "ü\u2028"})

    assert len(kinds(project)) == before + 1
    assert verdict(project)[0] == 0


def test_a_journal_that_was_there_before_the_chain_is_part_of_it(fresh: Project) -> None:
    execute(fresh, "truncate windlass.event")
    for file in mirror(fresh):
        file.unlink()
    fresh.migration(B, "create table b (i int)", "drop table b;")

    assert fresh.run("deploy", "--env", "uat").code == 0

    assert kinds(fresh)[0] == "chain-begun"
    assert verdict(fresh)[0] == 0
    execute(fresh, "update windlass.deployment set record = record || '{\"error\": \"x\"}' "
            "where id = (select min(id) from windlass.deployment)")  # fmt: skip
    assert "1 deployments have no event, and 1 had none" in verdict(fresh)[1]


def test_a_store_that_takes_no_events_is_an_alarm_and_no_failure(fresh: Project) -> None:
    journal = fresh.home / "backups/journal"
    journal.rename(fresh.home / "backups/elsewhere")
    journal.write_text("a file")
    fresh.migration(B, "create table b (i int)", "drop table b;")

    ran = fresh.run("deploy", "--env", "uat")

    assert ran.code == 0
    assert "the journal is not mirrored in the store" in ran.err
    journal.unlink()
    (fresh.home / "backups/elsewhere").rename(journal)
    fresh.migration(C, "create table c (i int)", "drop table c;")
    assert fresh.run("deploy", "--env", "uat").code == 0
    assert mirrored(fresh) == list(range(1, len(kinds(fresh)) + 1))  # what was missed too


def replaced(server: Server, url: str, by: str) -> None:
    """Put a database in another one's place, as a restore without Windlass does."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)'.encode())
        admin.execute(f'alter database "{by}" rename to "{name}"'.encode())


def copied(server: Server, url: str) -> str:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f'create database "{name}_copy" template "{name}"'.encode())
    return f"{name}_copy"


@pytest.fixture
def swept(fresh: Project, server16: Server) -> Iterator[Project]:
    """Return a project whose databases that a restore put aside are dropped."""
    yield fresh
    name = psycopg.conninfo.conninfo_to_dict(fresh.url)["dbname"]
    with psycopg.connect(server16.url(), autocommit=True) as admin:
        query = "select datname from pg_database where starts_with(datname, %s)"
        for (other,) in admin.execute(query, [f"{name}_"]).fetchall():
            admin.execute(f'drop database "{other}" with (force)'.encode())


def test_a_restored_database_goes_on_with_the_events_of_the_live_one(swept: Project) -> None:
    project = swept
    project.migration(B, "create table b (i int)", "drop table b;")
    assert project.run("deploy", "--env", "uat").code == 0  # its backup is from its middle
    before = execute(project, "select id, hash from windlass.event order by id")
    was = project.deployments("uat")

    restored = project.run("restore", "--env", "uat", CONFIRM_RESTORE="yes")

    assert restored.code == 0, restored.err
    after = execute(project, "select id, hash from windlass.event order by id")
    assert after[: len(before)] == before
    assert kinds(project)[len(before) :] == ["restored", "correction"]
    code, out = verdict(project)
    assert code == 0, out
    assert [(d["id"], d["status"]) for d in project.deployments("uat")] == [
        (d["id"], d["status"]) for d in was
    ]
    assert mirrored(project) == list(range(1, len(after) + 1))
    assert project.run("deploy", "--env", "uat").code == 0
    assert verdict(project)[0] == 0
    with kept(project):
        execute(project, "update windlass.event set record = '{}' where kind = 'restored'")
        assert verdict(project)[0] == 1


def test_a_live_database_whose_journal_is_gone_is_told_by_the_store(swept: Project) -> None:
    project = swept
    assert project.run("backup", "--env", "uat").code == 0
    project.migration(B, "create table b (i int)", "drop table b;")
    assert project.run("deploy", "--env", "uat").code == 0
    before = kinds(project)
    backup = project.json("backup.list", "--env", "uat")[-1]["manifest"]["key"].split("/")[-2]
    execute(project, "drop schema windlass cascade")

    ran = project.run("restore", "--env", "uat", "--from", backup, CONFIRM_RESTORE="yes")

    assert ran.code == 0, ran.err
    assert kinds(project)[: len(before)] == before
    assert "restored" in kinds(project)
    assert verdict(project)[0] == 0, verdict(project)


OLDER = (
    "drop table windlass.event, windlass.marker, windlass.pause",
    "drop table windlass.backfill_row, windlass.backfill",
    "alter table windlass.deployment drop column intent, drop column continues",
    "delete from windlass.version where version > 2",
)


@pytest.mark.parametrize("lost", [False, True], ids=["live journal", "no journal"])
def test_a_backup_with_an_older_versions_journal_goes_on_with_a_chain_that_holds(
    swept: Project, lost: bool
) -> None:
    project = swept
    for file in mirror(project):
        file.unlink()
    execute(project, "update windlass.deployment set status = 'running', finished_at = null")
    execute(project, *OLDER)
    assert project.run("backup", "--env", "uat").code == 0  # from the middle of a deployment
    execute(project, "update windlass.deployment set status = 'deployed', finished_at = now()")
    was = project.deployments("uat")
    if lost:
        execute(project, "drop schema windlass cascade")
    else:
        project.migration(B, "create table b (i int)", "drop table b;")
        assert project.run("deploy", "--env", "uat").code == 0
        was = project.deployments("uat")

    backup = project.json("backup.list", "--env", "uat")[0 if lost else 1]["manifest"]["key"]
    of = ("--from", backup.split("/")[-2])
    restored = project.run("restore", "--env", "uat", *of, CONFIRM_RESTORE="yes")

    assert restored.code == 0, restored.err
    code, out = verdict(project)
    assert code == 0, out
    now = {d["id"]: d["status"] for d in project.deployments("uat")}
    assert now == {d["id"]: "interrupted" if lost else d["status"] for d in was}
    assert project.run("deploy", "--env", "uat").code == 0
    assert verdict(project)[0] == 0, verdict(project)


@pytest.mark.parametrize("empty", [False, True])
def test_a_database_that_went_back_without_us_is_told_and_its_story_goes_on(
    fresh: Project, server16: Server, empty: bool
) -> None:
    copy = copied(server16, fresh.url)
    fresh.migration(B, "create table b (i int)", "drop table b;")
    assert fresh.run("deploy", "--env", "uat").code == 0
    before = execute(fresh, "select id, hash from windlass.event order by id")
    replaced(server16, fresh.url, copy)
    if empty:
        execute(fresh, "truncate windlass.event")
    assert verdict(fresh)[0] == 1

    ran = fresh.run("deploy", "--env", "uat")

    assert ran.code == 0, ran.err
    assert "the database went back; the later events are carried over" in ran.err
    after = execute(fresh, "select id, hash from windlass.event order by id")
    assert after[: len(before)] == before
    assert kinds(fresh)[len(before)] == "restored"
    assert verdict(fresh)[0] == 0, verdict(fresh)


def test_a_run_that_stands_still_in_its_turn_loses_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STANDS_STILL", "200ms")
    first, second = database_of(project), database_of(project)

    with kept(project), first.session("journal") as suspended:
        with pytest.raises(psycopg.Error) as caught, events.transaction(suspended):
            events.append(suspended, "paused", "", {"reason": "first"})
            events.append_now(second, "paused", {"reason": "second"})
            suspended.execute("select 1")

        assert caught.value.sqlstate == "25P03"
        assert errors.passing(caught.value)
        reasons = "select record ->> 'reason' from windlass.event order by id desc limit 1"
        assert execute(project, reasons) == [("second",)]


def test_who_waits_for_its_turn_is_told_so_in_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WAITS", "200ms")

    session = database_of(project).session("journal")
    with kept(project), session as slow, events.transaction(slow):
        events.append(slow, "paused", "", {"reason": "first"})
        with pytest.raises(StepFailed, match="writes into the journal, and does not end"):
            events.append_now(database_of(project), "paused", {"reason": "second"})
