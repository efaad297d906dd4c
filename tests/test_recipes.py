"""Recipes on real PostgreSQL: each stage deployed and undone, old and new code beside it."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from tests.fix_postgres import CLIENTS, Server
from tests.heavy import at_most
from tests.kit import Project, Ran

TABLE = """
create table orders (
    id int primary key, customer int not null default 7, amount int not null,
    note text default 'x', "Mixed" text, unique (note), check (amount > 0)
);
create index orders_amount_idx on orders (amount) where amount > 3;
create index on orders (customer, note);
insert into orders select i, i, i, 'n' || i, case when i % 2 = 0 then 'm' end
from generate_series(1, 300) i;
create table customers (id int primary key);
insert into customers select generate_series(0, 400);
create schema sales;
create table sales."Order" (id bigint primary key, "Total Sum" int);
insert into sales."Order" select i, nullif(i, 5) from generate_series(1, 50) i;
create table doubtful (id int primary key, value text);
insert into doubtful values (1, '1'), (2, 'two');
create view amounts as select note from orders;
"""


@pytest.fixture
def shop(
    tmp_path: Path, newest_server: Server, new_database: Callable[[Server], Database]
) -> Project:
    database = new_database(newest_server)
    with psycopg.connect(database.url.reveal(), autocommit=True) as connection:
        connection.execute(TABLE.encode())
    return Project(tmp_path / "shop", database.url.reveal(), throwaway=newest_server.url())


def recipe(project: Project, name: str, **options: str) -> Ran:
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    return project.run("create", "--env", "dev", "--recipe", name, *words)


def done(project: Project, *arguments: str, **more: str) -> None:
    ran = project.run(*arguments, **more)
    assert ran.code == 0, (arguments, ran.err)


def forward(project: Project) -> None:
    done(project, "migrate", "--env", "dev", "--steps", "1")


def back(project: Project) -> None:
    done(project, "rollback", "--env", "dev", "--steps", "1", CONFIRM_ROLLBACK="yes")


def schema(project: Project) -> list[str]:
    """Return the definitions, in no order: a column that was dropped comes back as the last."""
    dumped = subprocess.run(
        [str(CLIENTS / "pg_dump"), "-s", "-N", "windlass", "-T", "schema_migrations", project.url],
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(
        line.rstrip(",")
        for line in dumped.stdout.splitlines()
        if line.strip() and not line.startswith(("--", "\\"))
    )


@dataclass
class Code:
    """A version of the application: writes rows of its own by its own column, and reads them."""

    url: str
    column: str
    first: int  # of its ids
    insert: str
    written: dict[int, int] = field(default_factory=dict)
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as session:
                while not self.over.is_set():
                    self._once(session)
        except BaseException as error:  # noqa: BLE001  # raised by the test
            self.error = error

    def _once(self, session: psycopg.Connection) -> None:
        number = self.first + len(self.written)
        session.execute(self.insert.encode(), {"id": number, "value": number})
        self.written[number] = number
        older = self.first + len(self.written) // 2
        value = older + 100_000
        update = f"update orders set {self.column} = %s where id = %s"
        session.execute(update.encode(), (value, older))
        self.written[older] = value
        query = f"select {self.column} from orders where id = %s"
        row = session.execute(query.encode(), (older,)).fetchone()
        assert row is not None and int(row[0]) == value
        self.over.wait(0.01)


@contextmanager
def at_work(code: Code) -> Iterator[Code]:
    """Run a version of the application beside the block."""
    thread = threading.Thread(target=code.work, daemon=True)
    thread.start()
    try:
        yield code
    finally:
        code.over.set()
        thread.join()
    if code.error is not None:
        raise code.error


def values(project: Project, column: str) -> dict[int, int]:
    with psycopg.connect(project.url) as connection:
        query = f"select id, {column} from orders where id > 1000"
        return {row[0]: int(row[1]) for row in connection.execute(query.encode()).fetchall()}


CASES = {
    "renamed": ("rename-column", {"column": "amount", "to": "total"}, "amount", "total"),
    "widened": ("change-type", {"column": "amount", "type": "bigint"}, "amount", "amount_new"),
    "to text": (
        "change-type",
        {"column": "customer", "type": "text", "to": "client"},
        "customer",
        "client",
    ),
}
OLD = {"amount": "insert into orders (id, amount) values (%(id)s, %(value)s)"}
OLD["customer"] = "insert into orders (id, amount, customer) values (%(id)s, 1, %(value)s)"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", CASES)
def test_old_and_new_code_work_at_every_stage_and_beside_each_other(
    shop: Project, case: str
) -> None:
    name, options, old, new = CASES[case]
    with psycopg.connect(shop.url, autocommit=True) as connection:
        connection.execute("alter table orders alter note drop default")
    assert recipe(shop, name, table="orders", **options).code == 0
    assert shop.run("lint", "--env", "dev").code == 0
    names = shop.names
    insert = OLD[old].replace(old, new).replace("(id, client)", "(id, amount, client)")
    shapes = [schema(shop)]

    with at_work(Code(shop.url, old, 1001, OLD[old])) as before:
        forward(shop)
        with at_work(Code(shop.url, new, 500_001, insert)) as after:
            for number in range(1, len(names) - 1):
                forward(shop)
                if number % at_most(4, 1) == 0:
                    shape = schema(shop)
                    back(shop)
                    forward(shop)
                    assert schema(shop) == shape, names[number]
        shapes.append(schema(shop))
    forward(shop)  # the old code is gone
    assert values(shop, new) == {**before.written, **after.written}
    with at_work(Code(shop.url, new, 900_001, insert)) as last:
        back(shop)
    assert schema(shop) == shapes[1]
    everything = {**before.written, **after.written, **last.written}
    assert values(shop, new) == values(shop, old) == everything
    for _ in names[1:]:
        back(shop)
    assert schema(shop) == shapes[0]
    assert values(shop, old) == everything


ROUND = {
    "constant": ("add-not-null-column", {"column": "region", "type": "text", "value": "'eu'"}),
    "default": (
        "add-not-null-column",
        {"column": "token", "type": "uuid", "value": "gen_random_uuid()"},
    ),
    "computed": ("add-not-null-column", {"column": "double", "type": "int", "value": "amount * 2"}),
    "renamed, quoted": ("rename-column", {"column": "Mixed", "to": "plain"}),
    "dropped": ("drop-column", {"column": "amount", "value": "1"}),
    "foreign key": ("add-foreign-key", {"column": "customer", "references": "customers"}),
    "split": ("split-table", {"column": "amount,Mixed", "to": "order_details"}),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", ROUND)
def test_every_stage_is_undone_and_comes_again(shop: Project, case: str) -> None:
    name, options = ROUND[case]
    assert recipe(shop, name, table="orders", **options).code == 0
    assert shop.run("lint", "--env", "dev").code == 0

    for _ in shop.names:
        shape = schema(shop)
        forward(shop)
        back(shop)
        assert schema(shop) == shape
        forward(shop)

    done(shop, "verify", "--env", "dev")


def test_a_table_that_is_split_is_the_same_on_both_sides(shop: Project) -> None:
    assert recipe(shop, "split-table", table="orders", column="amount", to="details").code == 0
    forward(shop)
    forward(shop)
    with psycopg.connect(shop.url, autocommit=True) as connection:
        connection.execute("insert into orders (id, amount) values (901, 5)")
        connection.execute("update orders set amount = 6 where id = 1")
        connection.execute("update details set amount = 7 where id = 2")
        query = "select o.id, o.amount, d.amount from orders o join details d using (id)"
        rows = connection.execute(query).fetchall()

    assert len(rows) == 301
    assert all(here == there for _, here, there in rows)
    assert {(901, 5, 5), (1, 6, 6), (2, 7, 7)} <= set(rows)


def test_a_name_that_needs_quotes_and_a_schema(shop: Project) -> None:
    made = recipe(shop, "rename-column", table='sales."Order"', column="Total Sum", to="sum")
    assert made.code == 0, made.err
    for _ in shop.names:
        forward(shop)

    with psycopg.connect(shop.url) as connection:
        rows = connection.execute('select id, sum from sales."Order" order by id').fetchall()
    assert rows == [(number, None if number == 5 else number) for number in range(1, 51)]


def test_a_value_that_has_no_new_one_stops_the_backfill_with_its_key(shop: Project) -> None:
    assert recipe(shop, "change-type", table="doubtful", column="value", type="int").code == 0
    forward(shop)

    ran = shop.run("migrate", "--env", "dev", "--steps", "1")

    assert ran.code == 1
    assert "id = 2" in ran.error()[0] and 'integer: "two"' in ran.error()[0], ran.error()


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("rename-column", {"table": "nowhere", "column": "a", "to": "b"}, "no such table"),
        ("rename-column", {"table": "orders", "column": "z", "to": "b"}, "has no column z"),
        ("rename-column", {"table": "orders", "column": "amount"}, "needs --to"),
        ("rename-column", {"table": "orders", "column": "id", "to": "b"}, "the primary key"),
        ("rename-column", {"table": "orders", "column": "note", "to": "b"}, "view public.amounts"),
        ("rename-column", {"table": "orders", "column": "amount", "to": "note"}, "already"),
        (
            "change-type",
            {"table": "orders", "column": "amount", "type": "text", "using": "note"},
            "names note",
        ),
        (
            "add-not-null-column",
            {"table": "orders", "column": "b", "type": "int", "value": "1; drop table orders"},
            "no expression of SQL",
        ),
        ("add-foreign-key", {"table": "orders", "column": "note", "references": "a b"}, "expected"),
        ("split-table", {"table": "orders", "column": "Mixed", "to": "customers"}, "exists"),
        ("paint", {"table": "orders"}, "expected one of add-not-null-column"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(
    shop: Project, name: str, options: dict[str, str], why: str
) -> None:
    ran = recipe(shop, name, **options)

    assert ran.code == 2, ran.out
    assert why in "\n".join(ran.error())
    assert not shop.names


def test_a_dry_run_writes_nothing(shop: Project) -> None:
    ran = shop.run(
        *("create", "--env", "dev", "--recipe", "rename-column", "--dry-run"),
        *("--table", "orders", "--column", "amount", "--to", "total"),
    )

    assert ran.code == 0, ran.err
    assert "ADD COLUMN total integer" in ran.out
    assert not shop.names
