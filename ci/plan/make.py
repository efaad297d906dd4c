"""From what is on disk and what is in the database to a plan. Pure."""

import json

from ..config import Settings
from ..config.secretplaces import as_policy
from ..model import Direction, Facts, Migration, Plan, StepName
from ..policy import on_failure, steps_for

# Keys of an environment that say where to reach things or how long to wait for them, and so do
# not decide what happens to the database.
_NOT_DECIDING = frozenset({"database"})


def make_plan(
    settings: Settings,
    facts: Facts,
    migrations: tuple[Migration, ...],
    *,
    engine: tuple[str, str],
    direction: Direction = "up",
    without: frozenset[StepName] = frozenset(),
) -> Plan:
    """Return what a deployment of these migrations to this database would do.

    `engine` is its name and version; `without` leaves steps out that policy allows to leave out.
    """
    return Plan(
        project=settings.shared.project,
        environment=settings.name,
        tier=settings.tier,
        direction=direction,
        engine=engine[0],
        engine_version=engine[1],
        target=facts.target,
        history=tuple(sorted((row.name, row.checksum) for row in facts.history)),
        schema_fingerprint=facts.schema_fingerprint,
        schema=facts.schema,
        partials=facts.partials,
        leftovers=facts.leftovers,
        migrations=migrations,
        steps=steps_for(settings, direction, without=without),
        policy=_policy(settings),
    )


def _policy(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return every deciding setting as written, variables unexpanded, literal secrets masked."""
    environment = settings.written["environment"]
    deciding = {k: v for k, v in environment.items() if k not in _NOT_DECIDING}
    policy = {"on_failure": json.dumps(on_failure(settings))}
    for section in (settings.written["shared"], deciding):
        policy |= {key: as_policy(value) for key, value in section.items()}
    return tuple(sorted(policy.items()))
