"""The engine `alembic` beside the real Alembic: each reads what the other wrote as its own."""

from collections.abc import Callable

from tests.fix_alembic import AlembicProject

COLUMNS = {"id": "integer", "source": "character varying(50)", "payload": "jsonb"}


def states(made: AlembicProject) -> dict[str, str]:
    found = made.project.json("status", "--env", "uat")["migrations"]
    return {one["name"]: one["state"] for one in found}


def test_after_our_deployment_the_real_cli_is_at_head(
    alembic: Callable[..., AlembicProject],
) -> None:
    made = alembic("error_events")

    ran = made.project.run("deploy", "--env", "uat", "--yes")

    assert ran.code == 0, ran.err
    assert made.columns("error_events") == COLUMNS
    assert made.cli("current").stdout.strip() == "1a2b3c4d5e6f (head)"
    assert made.cli("check").returncode == 0
    assert states(made) == {"1a2b3c4d5e6f": "applied"}
