"""What a throwaway server is started with."""

import pytest

from pgwindlass.postgres import preload

pytestmark = pytest.mark.unit


def test_libraries_are_preloaded_for_the_extensions_that_need_it_citus_first() -> None:
    assert preload.libraries(["plpgsql", "timescaledb", "pgaudit"]) == ("pgaudit", "timescaledb")
    assert preload.libraries(["pgaudit", "citus"]) == ("citus", "pgaudit")


@pytest.mark.parametrize(("tables", "locks"), [(0, 64), (160, 64), (161, 65), (5_500, 2_200)])
def test_lock_slots_grow_with_the_tables(tables: int, locks: int) -> None:
    assert preload.settings([], tables) == (f"max_locks_per_transaction={locks}",)


def test_what_is_preloaded_is_one_setting() -> None:
    assert preload.settings(["citus", "pgaudit"], 1)[1:] == (
        "shared_preload_libraries=citus,pgaudit",
    )


def test_an_extension_that_is_bound_to_a_databases_name_has_no_copy() -> None:
    assert not preload.why_not(["pgaudit", "pg_trgm"])
    assert preload.why_not(["pgaudit", "pg_cron"]).startswith("pg_cron works in one database")
