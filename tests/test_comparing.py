"""What a rollback did not give back, and how it is said."""

from pgwindlass.database.connection import Database, read_target
from pgwindlass.postgres.clients import find_clients
from pgwindlass.postgres.definitions import OTHER_LINES, definitions, different
from tests.test_backup import run

SCHEMA = """
create table t (role varchar(20), a int, b int, c int, check (role in ('a', 'b')));
create index sum on t (((a + b) * c)) where role in ('a', 'b');
create index length on t (length(role::text || 'x'));
create function f() returns int language plpgsql as $$ begin
    perform 1;
    perform 2;
    return 3;
end $$;
"""


def changed(database: Database, sql: str) -> tuple[str, ...]:
    """Return what differs after some statements."""
    with database.connect("test") as connection:
        clients = find_clients(read_target(connection).server_version)
    run(database, SCHEMA)
    before = definitions(database, clients, ())
    run(database, sql)
    return different(before, definitions(database, clients, ()))


def test_moved_brackets_a_lost_cast_and_moved_lines_are_differences(database16: Database) -> None:
    found = changed(
        database16,
        """
        drop index sum, length;
        create index sum on t ((a + (b * c))) where role in ('a', 'b');
        create index length on t (length(role || 'x'::char));
        create or replace function f() returns int language plpgsql as $$ begin
            perform 2;
            perform 1;
            return 3;
        end $$;
        """,
    )

    function, length, total = found
    assert function == f"function public.f() differs: {OTHER_LINES}"
    assert length.startswith("index public.length differs: - CREATE INDEX length ON public.t")
    assert "((a + b) * c)" in total
    assert "(a + (b * c))" in total


def test_what_the_server_words_anew_is_neither_a_difference_nor_shown_beside_one(
    database16: Database,
) -> None:
    found = changed(
        database16,
        """
        alter table t drop constraint t_role_check, drop a, add d int;
        alter table t add constraint t_role_check check (
            role::text = any (array['a'::varchar::text, 'b'::varchar::text]));
        drop index length;
        create index length on t (length(role::text || 'x'));
        create index sum on t (((d + b) * c)) where role in ('a', 'b');
        """,
    )

    index, table = found
    assert index.startswith("index public.sum differs: - ")
    assert table == "table public.t differs: - a integer; + d integer"


def test_the_order_of_columns_and_of_grants_is_no_difference(database16: Database) -> None:
    run(database16, "create table granted (a int, b int)")
    run(database16, "grant select on granted to public, pg_monitor")

    found = changed(
        database16,
        """
        revoke select on granted from public; grant select on granted to public;
        alter table granted drop a; alter table granted add a int;
        """,
    )

    assert found == ()
