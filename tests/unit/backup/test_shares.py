"""What each pg_dump of a parallel backup dumps."""

import pytest

from pgwindlass.backup.shares import Share, jobs_for, shares
from pgwindlass.backup.tables import DumpedTable

pytestmark = pytest.mark.unit

GB = 1 << 30


def table(
    name: str, schema: str = "public", *, registered: bool = False, key: str = ""
) -> DumpedTable:
    return DumpedTable(
        schema=schema,
        name=name,
        has_rows=True,
        condition="",
        registered=registered,
        key=key or f"{schema}.{name}",
    )


def divided(sizes: dict[str, int], jobs: int, *tables: DumpedTable) -> dict[str, Share]:
    found = tables or tuple(table(name) for name in sizes)
    named = {("public", name): size for name, size in sizes.items()}
    return {share.name: share for share in shares(found, named, jobs)}


@pytest.mark.parametrize(
    ("size", "asked", "cores", "jobs"),
    [
        (GB - 1, None, 8, 1),
        (GB, None, 1, 1),
        (GB, None, 2, 2),
        (100 * GB, None, 64, 4),
        (1000, 3, 1, 3),
        (100 * GB, 1, 8, 1),
    ],
)
def test_several_at_once_where_the_database_is_large_and_cores_allow(
    size: int, asked: int | None, cores: int, jobs: int
) -> None:
    assert jobs_for(size, asked, cores) == jobs


def test_one_job_dumps_everything_but_our_lease() -> None:
    (share,) = shares((table("a"),), {("public", "a"): 5, ("windlass", "lease"): 1}, 1)

    assert share == Share(
        name="dump", holds="all", options=('--exclude-table-data="windlass"."lease"',), size=6
    )


def test_the_tables_are_shared_out_by_size_and_the_rest_is_what_nobody_has() -> None:
    found = divided({"a": 700, "b": 500, "c": 400, "tiny": 1}, 2)

    assert set(found) == {"schema", "rest", "data-1"}
    assert [share.holds for share in found.values()] == ["schema", "data", "data"]
    assert found["schema"].options == ("--section=pre-data", "--section=post-data")
    assert found["schema"].size == 0
    # 700 go to one, 500 and 400 to the other, which has the least both times.
    assert found["data-1"].options == ("--section=data", '--table="public"."a"')
    assert found["rest"].options == ("--section=data", '--exclude-table-data="public"."a"')
    assert found["rest"].size == 1126  # 901, and a quarter more
    assert found["data-1"].size == 875


def test_what_an_extension_registered_and_what_is_dumped_under_its_root_stay_in_the_rest() -> None:
    found = divided(
        {"spatial": 900, "hashed_0": 800, "plain": 700},
        2,
        table("spatial", registered=True),
        table("hashed_0", key="public.hashed"),
        table("plain"),
    )

    assert found["data-1"].options == ("--section=data", '--table="public"."plain"')


def test_odd_names_are_patterns_of_themselves() -> None:
    odd = DumpedTable(
        schema="select",
        name='a "b".* (c)',
        has_rows=True,
        condition="",
        registered=False,
        key='"select"."a ""b"".* (c)"',
    )

    (_, _, share) = shares((odd,), {("select", odd.name): 10}, 2)

    assert share.options[1] == '--table="select"."a ""b"".* (c)"'


def test_more_jobs_than_tables_leave_no_empty_share() -> None:
    assert set(divided({"a": 10, "b": 10}, 4)) == {"schema", "rest", "data-1", "data-2"}


def test_no_argument_list_grows_without_end() -> None:
    found = divided({f"t{n}": 100_000 for n in range(450)}, 2)

    assert sum(len(share.options) for share in found.values()) < 410


def test_our_lease_is_in_no_share() -> None:
    tables = (table("a"), table("lease", "windlass"))

    found = shares(tables, {("public", "a"): 10, ("windlass", "lease"): 10}, 2)

    assert [share.options for share in found[1:]] == [
        (
            "--section=data",
            '--exclude-table-data="public"."a"',
            '--exclude-table-data="windlass"."lease"',
        ),
        ("--section=data", '--table="public"."a"'),
    ]


def test_a_table_whose_size_is_not_known_stays_in_the_rest() -> None:
    found = divided({"a": 10}, 2, table("a"), table("unknown"))

    assert found["data-1"].options == ("--section=data", '--table="public"."a"')


@pytest.mark.parametrize(("size", "named"), [(20, False), (21, True)])
def test_a_table_of_two_thousandths_of_the_database_stays_in_the_rest(
    size: int, named: bool
) -> None:
    found = divided({"large": 10_000 - size, "small": size}, 3)

    assert ('--table="public"."small"' in found.get("data-2", found["rest"]).options) is named


def test_the_largest_tables_are_named_and_of_equals_the_first_by_name() -> None:
    found = divided({"b": 30, "a": 30, "z": 40, "c": 20}, 2)

    # z goes to the first, a to the rest, b to the rest (30 + 0 < 40 is less), c to the first.
    assert found["data-1"].options == (
        "--section=data",
        '--table="public"."z"',
        '--table="public"."c"',
    )
    assert found["data-1"].size == 75
