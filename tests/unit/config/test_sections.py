"""The sections of deploy.yml: their defaults, and the values that cannot be meant."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import (
    ApprovalBase,
    BackfillConfig,
    BackupsConfig,
    CommandRestart,
    ComposeRestart,
    DockerRestart,
    EncryptConfig,
    Environment,
    Expect,
    GithubApproval,
    HotTable,
    KeepConfig,
    KubectlRestart,
    LockConfig,
    MigrationsConfig,
    ObjectLockConfig,
    RehearsalConfig,
    S3Config,
    SmokeCheck,
    SmokeConfig,
    SshApproval,
    SystemdRestart,
    TerminalApproval,
    approval_of,
)
from pgwindlass.secret import Secret

pytestmark = pytest.mark.unit

URL = Secret("postgresql://sections@h/d")
CHECK = SmokeCheck(get="/health")


def shown(section: msgspec.Struct) -> str:
    """Return the fields of a section as people write them."""
    return ", ".join(
        f"{name}={getattr(section, name)!r}" for name in section.__struct_fields__
    ).replace("'", "")


@pytest.mark.parametrize(
    ("make", "defaults"),
    [
        (
            lambda: MigrationsConfig(),
            "engine=sql, directory=migrations, out_of_order=refuse, search_path=(public,), ini=, "
            "python=, url_variable=, environment=(), several_heads=refuse, owners=()",
        ),
        (
            lambda: MigrationsConfig(engine="prisma"),
            "engine=prisma, directory=prisma/migrations, out_of_order=refuse, "
            "search_path=(public,), ini=, python=, url_variable=, environment=(), "
            "several_heads=refuse, owners=()",
        ),
        (
            lambda: MigrationsConfig(engine="alembic"),
            "engine=alembic, directory=., out_of_order=refuse, search_path=(public,), "
            "ini=alembic.ini, python=, url_variable=DATABASE_URL, environment=(), "
            "several_heads=refuse, owners=()",
        ),
        (
            lambda: MigrationsConfig(
                engine="alembic", ini="back/a.ini", python="py", url_variable="DB"
            ),
            "engine=alembic, directory=back, out_of_order=refuse, search_path=(public,), "
            "ini=back/a.ini, python=py, url_variable=DB, environment=(), several_heads=refuse, "
            "owners=()",
        ),
        (lambda: KeepConfig(last=1), "last=1, daily=0, weekly=0, monthly=0, days=0"),
        (lambda: EncryptConfig(recipients=("age1x",)), "recipients=(age1x,), identity=None"),
        (lambda: ObjectLockConfig(), "mode=governance, retain=30d"),
        (lambda: S3Config(), "storage_class=, encryption=, kms_key=, tags={}, object_lock=None"),
        (
            lambda: BackupsConfig(to="file:///b"),
            "to=file:///b, endpoint=, "
            "s3=S3Config(storage_class=, encryption=, kms_key=, tags={}, object_lock=None), "
            "jobs=None, image=, globals=True, encrypt=None, keep=None, drill=None, "
            "throwaway=None, sandbox=auto, no_progress=2m",
        ),
        (
            lambda: LockConfig(),
            "timeout=(200ms, 500ms, 1s, 2s), wait=5m, statement_timeout=1h, concurrently=6h",
        ),
        (lambda: HotTable(table="t"), "table=t, waits=2s"),
        (lambda: RehearsalConfig(), "backup_age=1d, mask=, blocks_at_most=2s, service=None"),
        (lambda: TerminalApproval(), "expires=1d"),
        (lambda: GithubApproval(), "expires=1d, self_approval=False, comment=any"),
        (
            lambda: SshApproval(signers="s"),
            "signers=s, revoked=, required=1, expires=1d, not_by_author=False, "
            "directory=.windlass/approvals, branch=windlass-approvals",
        ),
        (
            lambda: SystemdRestart(unit="u"),
            "environment=(), lost_at_most=None, host=, hosts=(), batch=1, smoke=, unit=u, "
            "units=(), user=False, settle=5s, within=2m",
        ),
        (
            lambda: DockerRestart(container="c"),
            "environment=(), lost_at_most=None, host=, hosts=(), batch=1, smoke=, container=c, "
            "containers=(), settle=5s, within=2m",
        ),
        (
            lambda: ComposeRestart(service="s"),
            "environment=(), lost_at_most=None, service=s, file=docker-compose.yml, "
            "project_name=, host=, settle=5s, within=2m",
        ),
        (
            lambda: KubectlRestart(deployment="d"),
            "environment=(), lost_at_most=None, deployment=d, namespace=default, context=, "
            "settle=5s, within=5m",
        ),
        (
            lambda: CommandRestart(run=("r",), identity=("i",)),
            "environment=(), lost_at_most=None, run=(r,), identity=(i,), settle=5s, within=2m",
        ),
        (lambda: Expect(), "status=200, headers={}, json=None, within=None"),
        (
            lambda: Environment(tier="development", database=URL),
            "tier=development, database=***, addresses=(), restart=None, smoke=None, "
            f"approval=None, signing=None, lock=LockConfig({shown(LockConfig())}), "
            f"backfill=BackfillConfig({shown(BackfillConfig())}), "
            "proof=None, on_failure=None, steps={}, freeze=(), notices=(), restore_to=()",
        ),
    ],
)
def test_the_defaults_of_a_section(make: Callable[[], msgspec.Struct], defaults: str) -> None:
    assert shown(make()) == defaults


def test_the_defaults_of_smoke_tests() -> None:
    smoke = SmokeConfig(base_url="http://x", checks=(CHECK,))

    assert (smoke.deadline, smoke.successes, smoke.pause) == (Duration(60), 3, Duration(0.5))


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            MigrationsConfig,
            {"engine": "alembic", "directory": "m"},
            "alembic.ini sets the directory; ini names that file",
        ),
        (
            MigrationsConfig,
            {"ini": "alembic.ini"},
            "ini is for engine: alembic; the engine is sql",
        ),
        (
            MigrationsConfig,
            {"engine": "prisma", "python": "py"},
            "python is for engine: alembic; the engine is prisma",
        ),
        (
            MigrationsConfig,
            {"url_variable": "DB"},
            "url_variable is for engine: alembic; the engine is sql",
        ),
        (
            MigrationsConfig,
            {"environment": ("APP_ENV",)},
            "environment is for engine: alembic; the engine is sql",
        ),
        (
            MigrationsConfig,
            {"engine": "alembic", "environment": ("APP_ENV=x",)},
            'environment: "APP_ENV=x" is no name of a variable',
        ),
        (
            MigrationsConfig,
            {"engine": "alembic", "environment": ("DB",), "url_variable": "DB"},
            "environment: DB is url_variable, which has no other value",
        ),
        (KeepConfig, {"last": -1}, "last is -1; expected 0 or more"),
        (KeepConfig, {"last": 2, "days": -3}, "days is -3; expected 0 or more"),
        (
            KeepConfig,
            {},
            "keep is empty; expected one of last, daily, weekly, monthly, days",
        ),
        (
            KeepConfig,
            {"last": 0, "days": 0},
            "keep is empty; expected one of last, daily, weekly, monthly, days",
        ),
        (
            EncryptConfig,
            {"recipients": ()},
            "recipients is empty; expected at least one public key, age1…",
        ),
        (S3Config, {"kms_key": "k"}, "kms_key needs encryption: aws:kms"),
        (
            S3Config,
            {"kms_key": "k", "encryption": "AES256"},
            "kms_key needs encryption: aws:kms",
        ),
        (BackupsConfig, {"to": "s3://b", "jobs": 0}, "jobs is 0; expected 1 or more"),
        (
            BackupsConfig,
            {"to": "file:///b", "s3": S3Config(storage_class="GLACIER_IR")},
            "s3 is for a store s3://BUCKET/PREFIX",
        ),
        (
            LockConfig,
            {"timeout": ()},
            "timeout is empty; expected at least one duration, such as [200ms]",
        ),
        (
            LockConfig,
            {"timeout": (Duration(0),)},
            "timeout must ascend from above 0, such as [200ms, 500ms, 1s]",
        ),
        (
            LockConfig,
            {"timeout": (Duration(1), Duration(0.5))},
            "timeout must ascend from above 0, such as [200ms, 500ms, 1s]",
        ),
        (
            LockConfig,
            {"timeout": tuple(map(Duration, (0.5, 1, 2))), "statement_timeout": Duration(2)},
            "every timeout must be shorter than statement_timeout",
        ),
        (HotTable, {"table": ""}, "table is empty; expected a table, such as shop.orders"),
        (HotTable, {"table": "t", "waits": Duration(0)}, "waits must be above 0, such as 2s"),
        (SshApproval, {"signers": "s", "required": 0}, "required is 0; expected 1 or more"),
        (
            SmokeCheck,
            {},
            "a check needs exactly one of get, post, put, patch, delete, head",
        ),
        (
            SmokeCheck,
            {"get": "/", "post": "/"},
            "a check needs exactly one of get, post, put, patch, delete, head",
        ),
        (
            SmokeConfig,
            {"base_url": "http://x", "checks": ()},
            "checks is empty; expected at least one, such as {get: /health}",
        ),
        (
            SmokeConfig,
            {"base_url": "http://x", "checks": (CHECK,), "successes": 0},
            "successes must be at least 1",
        ),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(
    section: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        section(**values)


def test_the_values_at_the_edge_are_taken() -> None:
    assert KeepConfig(days=1).days == 1
    assert BackupsConfig(to="file:///b", jobs=1).jobs == 1
    assert BackupsConfig(to="s3://b", s3=S3Config(tags={"a": "b"})).s3.tags == {"a": "b"}
    assert S3Config(kms_key="k", encryption="aws:kms").kms_key == "k"
    assert SshApproval(signers="s", required=1).required == 1
    assert SmokeConfig(base_url="http://x", checks=(CHECK,), successes=1).successes == 1
    equal = LockConfig(timeout=(Duration(1), Duration(1)), statement_timeout=Duration(1.5))
    assert equal.timeout[-1] == Duration(1)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head"])
def test_a_check_has_the_method_and_path_that_it_names(method: str) -> None:
    check = SmokeCheck(**{method: f"/of/{method}"})  # type: ignore[arg-type]  # a key by its name

    assert (check.method, check.path) == (method.upper(), f"/of/{method}")


def test_one_unit_or_several_can_be_named() -> None:
    assert SystemdRestart(unit="a.service").together == ("a.service",)
    assert SystemdRestart(unit=("a.service", "b.service")).together == ("a.service", "b.service")


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({"from": "terminal"}, TerminalApproval),
        ({"from": "github", "comment": "digest"}, GithubApproval),
        ({"from": "ssh"}, SshApproval),
        ({"from": "fax"}, ApprovalBase),
        ({"FROM": "ssh"}, ApprovalBase),
        ({}, ApprovalBase),
        (None, ApprovalBase),
        ("ssh", ApprovalBase),
    ],
)
def test_an_approval_is_of_the_kind_that_is_written(
    written: object, kind: type[ApprovalBase]
) -> None:
    assert approval_of(written) is kind


def test_github_has_to_have_reviewers_unless_people_sign() -> None:
    assert [
        kind.reviewed for kind in (ApprovalBase, TerminalApproval, GithubApproval, SshApproval)
    ] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("name", ["A=b", "", "1A", "A B", "$A"])
def test_a_restart_names_variables_and_holds_no_value(name: str) -> None:
    with pytest.raises(ValueError, match="is no variable's name"):
        CommandRestart(run=("r",), identity=("i",), environment=(name,))


def test_a_sandbox_is_of_a_server_of_our_own() -> None:
    with pytest.raises(ValueError, match="sandbox: required is for a server of our own"):
        BackupsConfig(to="file:///b", throwaway=Secret("postgresql://h/d"), sandbox="required")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "unit and units are both missing"),
        ({"unit": "a", "units": ("b",)}, "unit and units are both set"),
        ({"unit": "a", "host": "h", "hosts": ("i",)}, "host and hosts are both set"),
        ({"unit": "a", "host": "-oProxyCommand=x"}, 'host: "-oProxyCommand=x" is no name'),
        ({"units": ("a", "b"), "batch": 0}, "batch is 0"),
        ({"unit": "a", "batch": 2}, "smoke and batch are for several members"),
        ({"unit": "a", "smoke": "http://a"}, "smoke and batch are for several members"),
        ({"units": ("a", "b"), "smoke": ("http://a",)}, "smoke has 1 addresses for 2 members"),
        ({"unit": "a", "lost_at_most": -1}, "lost_at_most is -1"),
    ],
)
def test_members_that_cannot_be_meant_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SystemdRestart(**keys)


def test_each_member_is_the_section_of_one_process() -> None:
    whole = SystemdRestart(
        units=("a", "b"), hosts=("u@h1", "h2"), batch=2, smoke="http://{host}/{unit}", user=True
    )
    alone = SystemdRestart(unit=("a", "b"), hosts=("h1", "h2"))
    docker = DockerRestart(containers=("c", "d"), host="tcp://h:1", lost_at_most=3)

    assert [m.address for m in whole.members] == [
        "http://h1/a",
        "http://h1/b",
        "http://h2/a",
        "http://h2/b",
    ]
    assert whole.of(whole.members[2]) == SystemdRestart(unit="a", host="h2", user=True)
    assert [alone.of(m) for m in alone.members] == [
        SystemdRestart(unit=("a", "b"), host="h1"),
        SystemdRestart(unit=("a", "b"), host="h2"),
    ]
    assert [docker.of(m) for m in docker.members] == [
        DockerRestart(container="c", host="tcp://h:1", lost_at_most=3),
        DockerRestart(container="d", host="tcp://h:1", lost_at_most=3),
    ]
    assert (whole.rolls, SystemdRestart(unit="a").members) == (True, ())
    assert DockerRestart(container="c", hosts=("tcp://1", "tcp://2")).docker_host == "tcp://1"
