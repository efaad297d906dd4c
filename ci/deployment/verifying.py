"""What is looked at once more behind the smoke test, where a failure undoes nothing.

A verify script decides right behind its migration, in its transaction; what is left half done is
refused by lint and by the rehearsal. What shows now is of a service that serves: a person decides.
"""

from collections.abc import Iterable
from functools import partial

import psycopg

from ..database import leftovers
from ..errors import WindlassError
from ..model import Migration, Plan
from ..secret import redact
from .work import Work


def warnings(plan: Plan, work: Work) -> tuple[str, ...]:
    """Run the verify scripts once more and look for what is left; return what is wrong."""
    texts = [_verified(migration, work) for migration in scripts(plan)]
    try:
        remains = work.database.read("verify", leftovers.read_leftovers)
    except (WindlassError, psycopg.Error) as error:
        return (*filter(None, texts), f"what is left half done is not known: {_words(error)}")
    new = [remnant for remnant in remains if remnant not in plan.leftovers]
    texts += [
        f"this deployment leaves: {left}; {leftovers.repair(left)}"
        for left in not_allowed(new, plan, work)
    ]
    return tuple(filter(None, texts))


def scripts(plan: Plan) -> tuple[Migration, ...]:
    """Return the migrations of a deployment that have a verify script."""
    return tuple(m for m in plan.migrations if m.verify is not None and plan.direction == "up")


def not_allowed(remains: Iterable[str], plan: Plan, work: Work) -> tuple[str, ...]:
    """Return what is left half done without a reason in a migration."""
    allowed = {rule for m in plan.migrations for rule in work.engine.files.allowed(m)}
    return tuple(left for left in remains if leftovers.rule(left) not in allowed)


def _verified(migration: Migration, work: Work) -> str:
    """Run one script; return what is wrong, empty where it holds."""
    try:
        # It may call what stays in a session: set_config(), an advisory lock.
        run = partial(work.engine.runner.verify, migration)
        work.database.read("verify", run, own_session=True)
    except (WindlassError, psycopg.Error) as error:
        return _words(error)
    return ""


def _words(error: WindlassError | psycopg.Error) -> str:
    if isinstance(error, WindlassError):
        return error.what
    return redact(" ".join(str(error).split()))
