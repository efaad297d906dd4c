"""A backfill beside a real autovacuum that prevents wraparound: it waits, and says for which."""

import time

import psycopg
import pytest

from pgwindlass.backfill import run as backfills
from pgwindlass.backfill.look import surroundings
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import BackfillConfig
from pgwindlass.database.retry import Terms
from pgwindlass.errors import StepFailed
from tests.fix_migration import Write
from tests.fix_own_server import own_server

# The least that the server takes; each transaction of the loop uses up one id.
OLDEST = 100_000
AGE = f"""
    do $$ begin
        for i in 1..{OLDEST + 1000} loop perform pg_current_xact_id(); commit; end loop;
    end $$
"""
# So slow that it is at work for as long as it is looked at: a page costs more than the limit.
SLOW = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"


def test_batches_wait_for_an_autovacuum_that_prevents_wraparound(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "LOOK_EVERY", 0.05)
    engine, migration = write("-- windlass: backfill table=t\nupdate t set n = n + 1;")
    settings = ("autovacuum=on", f"autovacuum_freeze_max_age={OLDEST}", "autovacuum_naptime=1s")
    notes: list[str] = []
    with (
        own_server("synchronous_commit=off", *settings) as server,
        psycopg.connect(server.url(), autocommit=True) as connection,
    ):
        connection.execute(f"create table t (id int primary key, n int) with ({SLOW})")
        connection.execute("insert into t select g, 0 from generate_series(1, 50000) g")
        connection.execute(AGE)
        deadline = time.monotonic() + 60
        while not surroundings(connection, "public.t").vacuum:
            assert time.monotonic() < deadline, "no autovacuum prevents wraparound"
            time.sleep(0.05)
        limits = BackfillConfig(wait=Duration(0.2))

        with pytest.raises(StepFailed) as caught:
            engine.runner.apply(
                migration, server.database(), Terms(note=notes.append, backfill=limits)
            )
        changed = connection.execute("select count(*) from t where n = 1").fetchone()

    reason = "an autovacuum to prevent wraparound is at work on public.t"
    assert notes == [f"the backfill of public.t waits: {reason}"]
    assert caught.value.what.endswith(f"waited for 200ms: {reason}")
    assert "backfill.wait" in caught.value.next_step
    assert changed == (0,)
