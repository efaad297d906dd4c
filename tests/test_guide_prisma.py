"""A column that production lacks, on a real Prisma project: found, added, tested, undone."""

from collections.abc import Callable

import psycopg
import pytest

from tests.fix_prisma import PrismaProject

INIT = "20250801000000_init"
LAST_ERROR = "20250804020810_add_last_error_to_environments"
ENVIRONMENTS = """\
CREATE TABLE "environments" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "environments_pkey" PRIMARY KEY ("id")
);
"""
COLUMN = 'ALTER TABLE "environments" ADD COLUMN "last_error" TEXT;\n'
STANDS = """\
select data_type = 'text' and is_nullable = 'YES' from information_schema.columns
where table_name = 'environments' and column_name = 'last_error';
"""
STAMP = ("stamp", "--env", "uat", "--name", LAST_ERROR, "--reason", "added by hand at night")
ROLLBACK = ("rollback", "--env", "uat", "--name", LAST_ERROR)
NONE_PENDING = "No pending migrations to apply."


@pytest.fixture
def guide(prisma: Callable[[], PrismaProject]) -> PrismaProject:
    """Production as Prisma left it, and the migration that its code waits for."""
    found = prisma()
    found.migration(INIT, ENVIRONMENTS, 'DROP TABLE "environments";')
    assert found.cli("deploy").code == 0
    found.migration(
        LAST_ERROR, COLUMN, 'ALTER TABLE "environments" DROP COLUMN "last_error";', STANDS
    )
    return found


def try_the_column(guide: PrismaProject) -> None:
    """Do what the application does when an environment cannot be created."""
    with psycopg.connect(guide.project.url) as connection:
        connection.execute("insert into environments (id, name, last_error) values ('a', 'a', 'x')")
        connection.execute("insert into environments (id, name) values ('b', 'b')")
        rows = connection.execute("select last_error from environments order by id").fetchall()
        connection.rollback()
    assert rows == [("x",), (None,)]


def test_the_whole_guide(guide: PrismaProject) -> None:
    shop = guide.project
    with pytest.raises(psycopg.errors.UndefinedColumn):
        try_the_column(guide)

    assert shop.run("doctor", "--env", "uat").code == 0
    status = shop.run("status", "--env", "uat")
    assert (status.code, f"pending       {LAST_ERROR}" in status.out) == (1, True)

    ran = shop.run("deploy", "--env", "uat")
    assert ran.code == 0, ran.err
    assert len(shop.json("backup.list", "--env", "uat")) == 1
    assert shop.run("verify", "--env", "uat").out == "1 verify scripts hold\n"
    try_the_column(guide)

    again = shop.run("deploy", "--env", "uat")
    assert again.code == 0, again.err
    assert "✓ migrate        already applied: nothing to do" in again.err
    assert NONE_PENDING in guide.cli("deploy").text

    refused = shop.run(*ROLLBACK)
    assert refused.code == 3
    assert "without a terminal: CONFIRM_ROLLBACK=yes" in refused.error()[2]
    assert shop.run(*ROLLBACK, CONFIRM_ROLLBACK="no").code == 3
    try_the_column(guide)
    undone = shop.run(*ROLLBACK, CONFIRM_ROLLBACK="yes")
    assert undone.code == 0, undone.err
    with pytest.raises(psycopg.errors.UndefinedColumn):
        try_the_column(guide)
    assert LAST_ERROR in guide.cli("deploy").text  # pending for Prisma too
    try_the_column(guide)


def test_the_column_exists_and_the_migration_is_not_recorded(guide: PrismaProject) -> None:
    with psycopg.connect(guide.project.url, autocommit=True) as connection:
        connection.execute(COLUMN.encode())
    told = (
        f"{LAST_ERROR} is not recorded, and column environments.last_error already exists; "
        "the definitions match"
    )

    ran = guide.project.run("deploy", "--env", "uat")
    assert (ran.code, ran.error()[0]) == (3, f"✗ preflight: pending: {told}"), ran.err
    assert "invoke stamp --env uat --name " + LAST_ERROR in ran.error()[2]
    assert told in guide.project.run("status", "--env", "uat").out

    assert guide.project.run(*STAMP, CONFIRM_HISTORY="yes").code == 0
    assert guide.project.run("status", "--env", "uat").code == 0
    assert NONE_PENDING in guide.cli("deploy").text


def test_after_a_failed_attempt_of_prismas_status_says_what_of_it_stands(
    guide: PrismaProject,
) -> None:
    """Its row commits apart from the script: killed in between, it has failed and stands."""
    assert guide.cli("deploy").code == 0
    with psycopg.connect(guide.project.url) as connection:
        connection.execute(
            "update _prisma_migrations set finished_at = null where migration_name = %s",
            (LAST_ERROR,),
        )

    status = guide.project.run("status", "--env", "uat")

    assert status.code == 3
    assert f"failed        {LAST_ERROR}" in status.out
    assert "column environments.last_error already exists; the definitions match" in status.out
    assert guide.project.run(*STAMP, CONFIRM_HISTORY="yes").code == 0
    assert NONE_PENDING in guide.cli("deploy").text
