"""A database knows which environment it is: deploy.yml, a URL or a flag cannot say otherwise."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import Server
from tests.fix_service import at_a_terminal
from tests.kit import Project, signing_keys

pytestmark = [pytest.mark.attack, pytest.mark.sampled(2)]

A = "20260801_000000_a"
B = "20260802_000000_b"
READ = "select project, environment, tier from windlass.identity"
UAT = ("shop", "uat", "acceptance")
CHANGING = {
    "migrate": ("migrate",),
    "deploy": ("deploy", "--yes"),
    "deploy a dry run": ("deploy", "--dry-run"),
    "rollback": ("rollback", "--steps", "1"),
    "stamp": ("stamp", "--name", B, "--reason", "r"),
    "unstamp": ("unstamp", "--name", A, "--reason", "r"),
    "repair": ("repair", "--name", A, "--reason", "r"),
    "baseline": ("baseline", "--name", B, "--reason", "r"),
    "restore": ("restore",),
    "restore beside": ("restore", "--into", "beside"),
    "swap": ("restore", "--swap", "postgres"),
    "backup": ("backup",),
}


def rows(url: str, query: str = READ) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def standing(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """Return one project for those attacks that change nothing, as they claim."""
    name, server = f"t_{secrets.token_hex(6)}", servers(16)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    yield deployed(tmp_path_factory.mktemp("identity"), server.url(name))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def kept(standing: Project) -> Iterator[Project]:
    """Return that project; its deploy.yml is put back."""
    text = standing.deploy_yml.read_text()
    yield standing
    standing.deploy_yml.write_text(text)


@pytest.fixture
def uat(tmp_path: Path, database16: Database) -> Project:
    """Return a project of its own, for what changes something."""
    return deployed(tmp_path, database16.url.reveal())


def deployed(directory: Path, url: str) -> Project:
    """Return a project whose database was deployed to as uat, and has a pending migration."""
    project = Project(directory / "shop", url)
    project.migration(A, "create table a (id int);", "drop table a;")
    ran = project.run("migrate", "--env", "uat")
    assert ran.code == 0, ran.err
    assert rows(project.url) == [UAT]
    project.migration(B, "create table b (id int);", "drop table b;")
    return project


def unchanged(project: Project) -> bool:
    count = "select (select count(*) from windlass.deployment), to_regclass('public.b')"
    return rows(project.url) == [UAT] and rows(project.url, count) == [(1, None)]


def everything(project: Project, env: str, verbs: dict[str, tuple[str, ...]]) -> None:
    """Try the verbs; each is refused before anything else, and says why."""
    confirmed = {f"CONFIRM_{what}": "yes" for what in ("HISTORY", "RESTORE", "ROLLBACK")}
    for name, (verb, *more) in verbs.items():
        ran = project.run(verb, "--env", env, *more, **confirmed)
        assert ran.code == 3, (name, ran.err)
        assert "is another one" in ran.error()[0], (name, ran.err)
        assert ran.error()[1] == "  state: nothing was changed", name
        assert f"invoke identity --env {env} --adopt" in ran.error()[2], name
    assert unchanged(project)


@pytest.mark.parametrize("verb", CHANGING, ids=CHANGING)
def test_dev_pointed_at_another_environments_database_is_refused(kept: Project, verb: str) -> None:
    everything(kept, "dev", {verb: CHANGING[verb]})


def test_another_environments_name_is_refused(kept: Project) -> None:
    text = kept.deploy_yml.read_text()
    kept.deploy_yml.write_text(text.replace("  production:\n", "  live:\n", 1))
    some = {name: CHANGING[name] for name in ("migrate", "rollback", "stamp", "restore")}

    everything(kept, "live", {**some, "restart": ("restart",)})


def test_a_tier_that_deploy_yml_lowers_is_refused(kept: Project) -> None:
    text = kept.deploy_yml.read_text()
    kept.deploy_yml.write_text(text.replace("tier: acceptance", "tier: development", 1))
    some = {name: CHANGING[name] for name in ("migrate", "deploy", "unstamp", "restore", "backup")}

    everything(kept, "uat", some)
    assert "its tier is acceptance" in kept.run("migrate", "--env", "uat").error()[0]


def test_another_projects_database_is_refused(kept: Project) -> None:
    text = kept.deploy_yml.read_text()
    kept.deploy_yml.write_text(text.replace("project: shop", "project: bank", 1))
    some = {name: CHANGING[name] for name in ("migrate", "deploy", "rollback", "repair", "swap")}

    everything(kept, "uat", some)


def test_names_swapped_in_deploy_yml_are_refused(kept: Project) -> None:
    text = (
        kept.deploy_yml.read_text().replace("  dev:\n", "  tmp:\n").replace("  uat:\n", "  dev:\n")
    )
    kept.deploy_yml.write_text(text.replace("  tmp:\n", "  uat:\n"))
    some = {name: CHANGING[name] for name in ("migrate", "deploy")}

    everything(kept, "uat", some)
    everything(kept, "dev", some)


def test_reading_verbs_say_it_and_change_nothing(kept: Project) -> None:
    status = kept.run("status", "--env", "dev")
    plan = kept.run("plan", "--env", "dev")
    doctor = kept.run("doctor", "--env", "dev")
    history = kept.run("history", "--env", "dev")
    identity = kept.run("identity", "--env", "dev")

    assert status.code == 3
    assert "it is uat (acceptance), not dev" in status.out
    assert "it is uat (acceptance), not dev" in plan.out
    assert doctor.code == 1
    assert "it is uat (acceptance), not dev" in doctor.out
    assert "the database is uat (acceptance) of shop" in history.out
    assert identity.code == 3
    assert "it is uat (acceptance), not dev" in identity.out
    assert kept.run("identity", "--env", "uat").code == 0
    assert unchanged(kept)


def test_the_lock_is_asked_again_for_who_was_quicker(
    uat: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that planned while the database said nothing meets another environment's record."""
    from pgwindlass.deployment import identity, proposals
    from pgwindlass.errors import Refused
    from tests.test_kept_session import opened

    asked = [0]
    real = identity.require

    def late(work: object) -> None:
        asked[0] += 1
        if asked[0] > 1:
            real(work)  # type: ignore[arg-type]

    monkeypatch.setattr(identity, "require", late)
    with opened(uat, "dev") as work:
        monkeypatch.setattr(
            "pgwindlass.deployment.preflight._identity", lambda _work: "not asked in this test"
        )
        proposal = proposals.propose_migration(work)
        with pytest.raises(Refused, match="is another one"):
            proposals.carry_out(work, proposal)
    assert unchanged(uat)


def test_adopting_is_confirmed_by_the_stricter_name_and_recorded(uat: Project) -> None:
    alone = uat.run("identity", "--env", "dev", "--adopt", "--reason", "mine")
    no_reason = uat.run("identity", "--env", "dev", "--adopt", CONFIRM_HISTORY="yes")
    dry = uat.run("identity", "--env", "dev", "--adopt", "--reason", "x", "--dry-run")

    assert alone.code == 3
    assert "the identity in uat is not confirmed" in alone.error()[0]
    assert no_reason.code == 2
    assert (dry.code, dry.out.strip()) == (
        0,
        "identity database: uat (acceptance) of shop → dev (development) of shop",
    )
    assert unchanged(uat)

    adopt = ("identity", "--env", "dev", "--adopt", "--reason", "copy")
    by_variable = uat.run(*adopt, CONFIRM_HISTORY="yes")
    other = at_a_terminal(uat, *adopt, typed="dev", asked='Type "uat": ')

    for ran in (by_variable, other):
        assert ran.code == 3
        assert "the identity in uat is not confirmed" in ran.error()[0]
        assert 'type "uat" when asked, at a terminal' in ran.error()[2]
    assert unchanged(uat)

    done = at_a_terminal(uat, *adopt, typed="uat", asked='Type "uat": ')

    assert done.code == 0, done.err
    assert rows(uat.url) == []
    (record,) = uat.json("history", "--env", "dev")["corrections"]
    assert (record["verb"], record["migration"]) == ("identity", "database")
    assert (record["before"], record["reason"]) == ("uat (acceptance) of shop", "copy")
    assert uat.run("migrate", "--env", "dev").code == 0


@pytest.mark.parametrize(
    ("text", "instead"),
    [("  uat:\n    tier: acceptance", "  uat:\n    tier: development"), ("shop", "other")],
    ids=["a laxer tier", "another project"],
)
def test_an_edited_deploy_yml_does_not_adopt_by_a_variable(
    uat: Project, text: str, instead: str
) -> None:
    uat.deploy_yml.write_text(uat.deploy_yml.read_text().replace(text, instead, 1))
    adopt = ("identity", "--env", "uat", "--adopt", "--reason", "mine")

    for ran in (uat.run(*adopt), uat.run(*adopt, CONFIRM_HISTORY="yes")):
        assert ran.code == 3, ran.out
        assert "the identity in uat is not confirmed" in ran.error()[0]
        assert 'type "uat" when asked, at a terminal' in ran.error()[2]
    assert unchanged(uat)

    assert at_a_terminal(uat, *adopt, typed="uat", asked='Type "uat": ').code == 0


def test_a_table_of_the_applications_is_no_identity(uat: Project) -> None:
    with psycopg.connect(uat.url, autocommit=True) as connection:
        connection.execute("drop table windlass.identity")
        connection.execute(
            "create view windlass.identity as select 'shop' as project, 'dev' as environment, "
            "'development' as tier"
        )

    ran = uat.run("migrate", "--env", "dev")

    assert ran.code == 3
    assert "windlass.identity is a view" in ran.error()[0]


def test_a_stricter_tier_is_recorded_and_does_not_come_down_again(uat: Project) -> None:
    text = uat.deploy_yml.read_text()
    stricter = text.replace("tier: acceptance", "tier: production", 1).replace(
        "    lock: {timeout: [100ms, 200ms], wait: 3s}\n  production:",
        "    approval: {from: terminal}\n    steps: {rehearsal: off}\n    "
        f"lock: {{timeout: [100ms]}}\n    signing: {{signers: {signing_keys()}/backup-signers}}\n"
        "  production:",
        1,
    )
    uat.deploy_yml.write_text(stricter)
    ran = at_a_terminal(uat, "stamp", "--env", "uat", "--name", B, "--reason", "r", typed="uat")
    assert ran.code == 0, ran.err  # a stricter one is accepted; a deployment records it
    with psycopg.connect(uat.url, autocommit=True) as connection:
        connection.execute("update windlass.identity set tier = 'production'")
    uat.deploy_yml.write_text(text)

    refused = uat.run("migrate", "--env", "uat")

    assert refused.code == 3
    assert "its tier is production; deploy.yml says acceptance" in refused.error()[0]


def test_a_restore_keeps_the_environment_and_a_copy_beside_it_has_none(
    uat: Project, server16: Server
) -> None:
    beside = f"beside_{uat.url.rpartition('t_')[2][:12]}"
    ran = uat.run("restore", "--env", "uat", "--into", beside)
    assert ran.code == 0, ran.err
    try:
        assert rows(server16.url(beside)) == []
        last = "select record ->> 'before', record ->> 'after' from windlass.correction"
        assert rows(server16.url(beside), last) == [
            ("uat (acceptance) of shop", "a copy, of no environment")
        ]
        assert rows(uat.url) == [UAT]

        swapped = uat.run("restore", "--env", "uat", "--swap", beside, CONFIRM_RESTORE="yes")

        assert swapped.code == 0, swapped.err
        assert rows(uat.url) == [UAT]
        kept = rows(
            server16.url(), "select datname from pg_database where datname like 't%before%'"
        )
    finally:
        with psycopg.connect(server16.url(), autocommit=True) as connection:
            connection.execute(f"drop database if exists {beside} with (force)".encode())
    with psycopg.connect(server16.url(), autocommit=True) as connection:
        for (name,) in kept:
            connection.execute(f"drop database {name} with (force)".encode())


def test_another_environments_database_does_not_take_the_live_ones_place(
    uat: Project, server16: Server, new_database: Callable[[Server], Database]
) -> None:
    other = new_database(server16)
    bank = Project(uat.home.parent / "bank", other.url.reveal())
    bank.deploy_yml.write_text(
        bank.deploy_yml.read_text().replace("project: shop", "project: bank")
    )
    bank.migration(A, "create table a (id int);", "drop table a;")
    assert bank.run("migrate", "--env", "uat").code == 0

    ran = uat.run("restore", "--env", "uat", "--swap", other.name, CONFIRM_RESTORE="yes")

    assert ran.code == 3
    assert "it belongs to the project bank" in ran.error()[0]
    assert unchanged(uat)
