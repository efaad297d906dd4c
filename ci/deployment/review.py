"""What the reader of a plan is told: dangerous statements, and how large their tables are."""

import psycopg

from ..lint.severity import graded
from ..model import Finding, Migration, Plan, Rehearsal, TableSize
from .facts import read_sizes
from .work import Work


def sizes(migrations: tuple[Migration, ...], work: Work) -> tuple[TableSize, ...]:
    """Return the sizes of the tables that migrations name and that stand already."""
    names = frozenset[str]().union(*(work.engine.tables(one) for one in migrations))
    return work.database.read("plan", lambda connection: read_sizes(connection, names))


def findings(
    plan: Plan, work: Work, tables: tuple[TableSize, ...], rehearsal: Rehearsal | None
) -> tuple[Finding, ...]:
    """Return what is dangerous in a plan's migrations, graded, the gravest first."""

    def look(connection: psycopg.Connection) -> tuple[Finding, ...]:
        return work.engine.lint(plan.migrations, connection)

    return graded(work.database.read("lint", look), tables, rehearsal)
