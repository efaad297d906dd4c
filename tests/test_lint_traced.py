"""What lint proposes makes others wait less than the statement it stands for, as the trace sees it.

Each part is a transaction of its own. What a transaction costs the others is a pair, the worse
first: whom it keeps out while it works through rows, and whom it keeps out at all.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.lint.fix import Trio
from pgwindlass.lint.live import read_catalog
from pgwindlass.model import Traced
from pgwindlass.parser.split import Statement, split
from pgwindlass.rehearsal import trace
from pgwindlass.rehearsal.trace import STRENGTH, Trace
from pgwindlass.secret import Secret
from tests import forms
from tests.fix_postgres import Server
from tests.heavy import some
from tests.test_lint_fix import WITH_ONE, large, mended

DATABASE = "traced_forms"
EMPTY = "traced_template"
ROWS = """
insert into customers select i, 'e' || i, 'n' from generate_series(1, 100) i;
insert into orders (id, customer_id, total, code, status, happened, seen, address, payload, flags,
                    amount, ref, feeling, rating, rank, note, memo, span, at, sku, parted)
select i, i, 1, 'c' || i, case i when 1 then 'open' else 'paid' end,
       now(), now(), '10.0.0.0', '{}', b'1',
       i, i, 'ok', 1, 1, 'n' || i, 'm', '1 s', '10:00', 's', 'p' from generate_series(1, 100) i;
insert into archive.orders select i, i, 'c' || i, i, 's', 'n', 'm' from generate_series(1, 100) i;
insert into invoices select i, null, i from generate_series(1, 100) i;
insert into events select i, now(), 'k' from generate_series(1, 100) i;
insert into events_old select i, now(), 'k' from generate_series(101, 200) i;
insert into measures_1 select i, '2026-01-05', i from generate_series(1, 100) i;
insert into measures_raw select i, '2026-06-05', i from generate_series(1, 100) i;
insert into measures_2 select i, '2026-02-05', i from generate_series(1, 100) i;
insert into measures_3 select i, '2026-03-05', i from generate_series(1, 100) i;
insert into measures_4 select i, '2026-04-05', i from generate_series(1, 100) i;
insert into regions_eu select i, 'eu' from generate_series(1, 100) i;
insert into kinds_a select i, 'a' from generate_series(1, 100) i;
insert into kinds_b select i, 'b' from generate_series(1, 100) i;
insert into kinds_d select i, 'd' from generate_series(1, 100) i;
refresh materialized view totals;
refresh materialized view sums;
analyze;
"""
STOOD = frozenset(".".join(key) for key in forms.catalog_of(18).tables)
FEW = 50  # rows, below which a scan is none: of a catalog's
# The statement stays as it stands, behind what it lacked; or the server refuses it as it stands.
KEPT = frozenset({"foreign-key-no-index"})
REFUSED = frozenset({"enum-used-at-once", "concurrently-on-partitioned", "extension-missing"})


def keeps_out(mode: str) -> int:
    """Whom a table's lock keeps out: 2 readers too, 1 writers, 0 neither."""
    if mode == "AccessExclusiveLock":
        return 2
    return int(STRENGTH.index(mode) >= STRENGTH.index("ShareLock"))


def cost(seen: list[Traced]) -> tuple[int, int]:
    """What the statements of one transaction cost the others."""
    locks = [lock for each in seen for lock in each.locks]
    works = any(
        each.rewrites
        or each.indexes
        or any(rows >= FEW for _, rows in each.scans)
        or any(rows >= FEW for _, rows, _ in each.rows_locked)
        for each in seen
    )
    strongest: dict[str, int] = {}
    for name, mode in locks:
        if name not in STOOD:
            continue  # made by a part before: nobody waits for it
        strongest[name] = max(strongest.get(name, 0), keeps_out(mode))
    rows = max((1 for each in seen if any(n >= FEW for _, n, _ in each.rows_locked)), default=0)
    return (max([*strongest.values(), rows]) if works else 0), sum(strongest.values())


class Copy:
    """A database with what stands, and rows in it; made anew where something was left."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.database = Database(url=Secret(server.url(DATABASE)))
        self.admin("drop database if exists " + EMPTY, "create database " + EMPTY)
        with psycopg.connect(server.url(EMPTY), autocommit=True) as connection:
            connection.execute((forms.STANDS + ROWS).encode())
        self.renew()

    def admin(self, *statements: str) -> None:
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def renew(self) -> None:
        self.admin(
            f"drop database if exists {DATABASE} with (force)",
            f"create database {DATABASE} template {EMPTY}",
        )

    def ran(self, statements: tuple[Statement, ...], *, kept: bool) -> list[Traced]:
        """What the statements of a file do, as one transaction, or each alone where it must be."""
        alone = any(not each.transactional for each in statements)
        looker = Trace(self.database)
        with self.database.connect("test", autocommit=alone) as connection:
            connection.execute("set search_path = public")
            for each in statements:
                if each.kind == "transaction_stmt":
                    continue
                with looker.observe(connection, "a.sql:1", each.sql):
                    connection.execute(each.sql.encode())
            if not alone and not kept:
                connection.rollback()
        looker.close()
        return looker.statements


@pytest.fixture
def copy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copy]:
    # Before 15 the counters of all sessions come late, and there are no parallel workers here.
    mine = trace.COUNTS.replace("pg_catalog.pg_stat_get_tuples_returned(relid)", "0")
    monkeypatch.setattr(trace, "COUNTS", mine)
    made = Copy(server)
    yield made
    made.admin(f"drop database {DATABASE} with (force)", f"drop database {EMPTY}")


def parts_of(trios: tuple[Trio, ...]) -> list[tuple[Statement, ...]]:
    return [split(Path(f"{trio.name}.sql"), trio.sql) for trio in trios]


def compared(copy: Copy, form: forms.Form) -> list[object]:
    """What of the parts is not less than the statement; nothing where it has no parts."""
    for file in form.files[:-1]:
        copy.ran(file.statements, kept=True)
    with copy.database.connect("test", autocommit=False) as connection:
        connection.execute("set local search_path = public")
        catalog = large(read_catalog(connection, form.files, ("public",)))
    trios = mended(form.files, catalog)
    if not trios:
        copy.renew()
        return []
    try:
        before = cost(copy.ran(form.files[-1].statements, kept=False))
    except psycopg.errors.UniqueViolation:  # these rows are not for every form
        copy.renew()
        return []
    after = []
    for trio, part in zip(trios, parts_of(trios), strict=True):
        batches = "-- windlass: backfill" in trio.sql
        seen = copy.ran(part, kept=True)
        # A batch has few of the rows, however many this table has.
        after.append((0, 0) if batches and not cost(seen)[1] else cost(seen))
    if any(trio.rollback is None for trio in trios) or len(form.files) > 1:
        copy.renew()
    else:
        for part in (split(Path("undo.sql"), trio.rollback or "") for trio in reversed(trios)):
            copy.ran(part, kept=True)
    wrong = [each for each in after if each > before or (each == before and form.name not in KEPT)]
    return [before, *after] if wrong else []


def test_each_part_makes_others_wait_less_than_the_statement(copy: Copy) -> None:
    wrong: dict[tuple[int, str], object] = {}
    of_this = [form for form in WITH_ONE if form.is_of(copy.server.major) and not form.outside]
    for form in some([form for form in of_this if form.name not in REFUSED], 0, of=5):
        try:
            if worse := compared(copy, form):
                wrong[form.line, form.name] = worse
        except psycopg.Error as error:
            copy.renew()
            wrong[form.line, form.name] = str(error)

    assert not wrong, "\n".join(map(str, wrong.items()))
