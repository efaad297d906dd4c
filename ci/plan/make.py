"""From what is on disk and what is in the database to a plan. Pure."""

import hashlib
import json
from functools import cache

import msgspec

from ..config import Settings
from ..config.convert import values_of
from ..config.secretplaces import as_policy
from ..database.address import normalised
from ..errors import ConfigError
from ..model import CorrectionOrder, Direction, Facts, Migration, Plan, Sources, StepName, Target
from ..policy import on_failure, steps_for, steps_for_correction
from ..secret import names_secret

NO_SOURCES = Sources()
# Where to reach things, who we are there, and who is told: a plan job and a deploy job may differ.
_NOT_DECIDING = frozenset({"database", "notices"})
_NOT_DECIDING_OF_BACKUPS = frozenset({"endpoint", "throwaway", "encrypt"})
SECRET = "secret"  # noqa: S105  # in the place of the mark of a secret
# Parameters of scrypt: about 50 ms for a guess.
_N, _R, _P = 1 << 14, 8, 1


def make_plan(  # noqa: PLR0913  # each is a part of the plan
    settings: Settings,
    facts: Facts,
    migrations: tuple[Migration, ...],
    *,
    engine: tuple[str, str],
    direction: Direction = "up",
    without: frozenset[StepName] = frozenset(),
    sources: Sources = NO_SOURCES,
    correction: CorrectionOrder | None = None,
) -> Plan:
    """Return what a deployment of these migrations to this database would do.

    Args:
        settings: the environment.
        facts: what its database is now.
        migrations: in running order.
        engine: its name and version.
        direction: up, or down.
        without: leaves steps out that policy allows to leave out.
        sources: the commit, and the files that decide beside the migrations.
        correction: what is done instead of a deployment.

    Raises:
        Laxer: the environment, or a variable in it, asks for less than its tier.
        ConfigError: the database is reached at another address than `addresses` names.

    """
    return Plan(
        project=settings.shared.project,
        environment=settings.name,
        tier=settings.tier,
        direction=direction,
        engine=engine[0],
        engine_version=engine[1],
        target=_target(settings, facts.target),
        history=tuple(sorted((row.name, row.checksum) for row in facts.history)),
        schema_fingerprint=facts.schema_fingerprint,
        schema=facts.schema,
        partials=facts.partials,
        leftovers=facts.leftovers,
        migrations=migrations,
        steps=steps_for(settings, direction, without=without)
        if correction is None
        else steps_for_correction(settings),
        correction=correction,
        policy=_policy(settings),
        variables=marks_of(settings),
        sources=sources,
    )


def _policy(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return every deciding setting as written, variables unexpanded, literal secrets masked."""
    environment = settings.written["environment"]
    deciding = {k: v for k, v in environment.items() if k not in _NOT_DECIDING}
    policy = {"on_failure": json.dumps(on_failure(settings))}
    for section in (settings.written["shared"], deciding):
        policy |= {key: as_policy(value) for key, value in section.items()}
    return tuple(sorted(policy.items()))


def _target(settings: Settings, target: Target) -> Target:
    """Return the target under the first of its server's names.

    Raises:
        ConfigError: `addresses` does not name where the database is reached.

    """
    if settings.environment.database.reveal() == "embedded":
        return msgspec.structs.replace(target, address="embedded")
    names = tuple(normalised(name) for name in settings.environment.addresses)
    if not names or not target.address:  # not reached at all: a restore onto another server
        return target
    if target.address not in names:
        raise ConfigError(
            f"environments.{settings.name}.addresses: the database is reached at "
            f"{target.address}, which is none of them",
            place=settings.where("addresses"),
            next_step="check the database's URL; or add the address, if it is the same server",
        )
    return msgspec.structs.replace(target, address=names[0])


def marks_of(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return each variable of the deciding settings with a mark of its value, by name.

    The mark changes with the value and does not show it. A secret's name alone is there: the
    jobs that plan and that deploy may have different ones, and a rotated one is no other plan.
    """
    shared = dict(settings.written["shared"])
    backups = shared.get("backups")
    if isinstance(backups, dict):
        shared["backups"] = {
            key: value for key, value in backups.items() if key not in _NOT_DECIDING_OF_BACKUPS
        }
    own = {k: v for k, v in settings.written["environment"].items() if k not in _NOT_DECIDING}
    values = values_of([shared, own], settings.variables)
    where = f"{settings.shared.project}/{settings.name}"
    return tuple(
        (name, SECRET if names_secret(name) else _mark(f"{where}/{name}", value))
        for name, value in sorted(values.items())
    )


@cache
def _mark(where: str, value: str) -> str:
    """Return a mark that is slow to guess a value from: it may be a secret whose name hides it."""
    mark = hashlib.scrypt(value.encode(), salt=where.encode(), n=_N, r=_R, p=_P, dklen=16)
    return f"scrypt:{mark.hex()}"
