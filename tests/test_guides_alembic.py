"""The guides 000, 002 and 003 as tasks, on the projects they were written for."""

from collections.abc import Callable

import pytest

from pgwindlass.database.connection import Database
from tests.fix_alembic import AlembicProject
from tests.fix_service import api_of, at_a_terminal

Make = Callable[..., AlembicProject]
EVENTS = """
insert into error_events (id, source, payload) values
    (1, 'api', '{"status_code": "500", "path": "/a"}'), (2, 'job', '{"message": "no status"}')
"""
BACKFILL = (
    "    op.execute(\"UPDATE error_events SET status_code = (payload->>'status_code')::integer \"\n"
    "               \"WHERE payload->>'status_code' IS NOT NULL\")\n"
)
STATUS_CODE = """\
    status_code = Column(Integer)

    __table_args__ = (Index("idx_error_events_status_code", "status_code"),)
"""
ROLES = "check (role in ('user', 'assistant', 'system', 'tool'))"
VARCHAR = (
    "alter table messages alter role type varchar(20) using role::text; drop type message_role"
)
# What the guide lists: production has the type, others have not, and some have half of it.
STARTS = {
    "enum": "select 1",
    "varchar": f"{VARCHAR}; alter table messages add constraint check_role_values {ROLES}",
    "varchar without its check": VARCHAR,
    "one column there": "alter table messages add tool_call_id varchar(100)",
    "both columns there": "alter table messages add tool_call_id varchar(100), "
    "add name varchar(100)",
}
AFTER = {
    "id": "integer",
    "conversation_id": "integer",
    "role": "character varying(20)",
    "content": "text",
    "tool_call_id": "character varying(100)",
    "name": "character varying(100)",
}


def ok(made: AlembicProject, *arguments: str, **more: str) -> str:
    ran = made.project.run(*arguments, **more)
    assert ran.code == 0, ran.err
    return ran.out + ran.err


def test_guide_000_a_column_with_backfill_and_index_by_autogenerate(alembic: Make) -> None:
    made = alembic("error_events")
    ok(made, "deploy", "--env", "dev")
    made.sql(EVENTS)
    models = made.backend / "app" / "models.py"
    models.write_text(models.read_text() + STATUS_CODE)
    shown = ok(made, "status", "--env", "dev")
    assert (
        "models: the database lacks 2 changes: add column error_events.status_code, add index"
        in (shown)
    )

    message = "Add status_code column to error_events"
    written = ok(made, "create", "--autogenerate", "--env", "dev", "--name", message).strip()
    file = made.project.home / written
    text = file.read_text()
    assert "sa.Column('status_code', sa.Integer()" in text
    index = next(one for one in text.splitlines(keepends=True) if "op.create_index" in one)
    file.write_text(text.replace(index, BACKFILL + index))
    ok(made, "deploy", "--env", "uat", "--yes")

    assert made.sql("select id, status_code from error_events order by id") == [(1, 500), (2, None)]
    assert made.sql(
        "select count(*) from pg_indexes where indexname = 'idx_error_events_status_code'"
    ) == [(1,)]
    assert "models: equal to the database" in ok(made, "status", "--env", "uat")
    assert made.cli("current").stdout.strip().endswith("(head)")
    ok(made, "rollback", "--env", "uat", "--steps", "1", CONFIRM_ROLLBACK="yes")
    assert "status_code" not in made.columns("error_events")
    ok(made, "deploy", "--env", "uat", "--yes")
    assert made.sql("select status_code from error_events where id = 1") == [(500,)]


def test_guide_002_up_down_and_up_again_by_one(alembic: Make) -> None:
    made = alembic("agent_logger")
    ok(made, "migrate", "--env", "dev", "--to", "a100")
    made.sql("insert into users values (gen_random_uuid(), 'Ada', 'Lovelace', 'ada@example.com')")

    ok(made, "migrate", "--env", "dev", "--to", "names@head")
    assert made.sql("select full_name from users") == [("Ada Lovelace",)]
    ok(made, "rollback", "--env", "dev", "--steps", "1", CONFIRM_ROLLBACK="yes")
    assert "full_name" not in made.columns("users")
    ok(made, "migrate", "--env", "dev", "--to", "b200")
    ok(made, "rollback", "--env", "dev", "--to", "a100", CONFIRM_ROLLBACK="yes")
    assert made.heads() == ["a100"]
    ok(made, "create", "--merge", "--name", "merge branches")
    ok(made, "migrate", "--env", "dev", "--steps", "1")

    assert made.heads() == ["b200"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("start", STARTS)
def test_guide_003_idempotent_revisions_from_every_starting_state(
    alembic: Make, start: str
) -> None:
    made = alembic("todo_backend", variable="TODO_DATABASE")
    ok(made, "migrate", "--env", "dev", "--to", "001_fix_priority_schema")
    made.sql("insert into messages (id, conversation_id, role, content) values (1, 1, 'user', 'x')")
    made.sql(STARTS[start])

    said = ok(made, "deploy", "--env", "uat", "--yes")

    there = start in ("one column there", "both columns there")
    assert ("'tool_call_id' already exists in messages table - skipping" in said) is there
    assert made.columns("messages") == AFTER
    assert made.sql("select role, content from messages") == [("user", "x")]
    assert made.cli("current").stdout.strip() == "004 (head)"
    ok(made, "rollback", "--env", "uat", "--to", "001_fix_priority_schema", CONFIRM_ROLLBACK="yes")
    assert made.heads() == ["001_fix_priority_schema"]
    assert made.columns("messages")["role"] == "message_role"
    ok(made, "deploy", "--env", "uat", "--yes")
    assert made.columns("messages") == AFTER


@pytest.mark.parametrize(
    ("name", "variable", "shown"),
    [
        ("error_events", "DATABASE_URL", "1 on a copy in"),
        ("agent_logger", "DATABASE_URL", "4 on a copy in"),
        ("todo_backend", "TODO_DATABASE", "AccessExclusive on public.messages: reads and writes"),
    ],
)
def test_every_guide_in_production_rehearsed_approved_restarted_and_tested(
    alembic: Make, database16: Database, name: str, variable: str, shown: str
) -> None:
    with api_of(database16) as base_url:
        made = alembic(name, variable=variable)
        made.set("http://127.0.0.1:9", base_url)
        made.set("    steps: {rehearsal: off}\n", "")
        if name == "agent_logger":
            ok(made, "create", "--merge", "--name", "merge branches")

        ran = at_a_terminal(made.project, "deploy", "--env", "production", typed="production")

        assert ran.code == 0, ran.err
        assert shown in ran.err
        assert made.project.restarts == 1
        assert made.cli("check").returncode == 0
