"""Whether a database is the one that an environment means: what it says of itself decides. Pure."""

from ..errors import Refused
from ..model import DatabaseIdentity, Tier
from ..policy import TIERS


def laxer(tier: Tier, than: Tier) -> bool:
    """Tell whether a tier asks for less than another."""
    return TIERS.index(tier) < TIERS.index(than)


def difference(known: DatabaseIdentity | None, asked: DatabaseIdentity) -> str:
    """Say how the database is not what is asked for; empty where it is, or says nothing.

    Args:
        known: what the database has recorded of itself; None: nothing yet.
        asked: the environment of deploy.yml.

    """
    if known is None:
        return ""
    if known.project != asked.project:
        return f"it belongs to the project {known.project}, not to {asked.project}"
    if known.environment != asked.environment:
        return f"it is {known.environment} ({known.tier}), not {asked.environment}"
    if laxer(asked.tier, known.tier):
        return f"its tier is {known.tier}; deploy.yml says {asked.tier}, which asks for less"
    return ""


def require_same(known: DatabaseIdentity | None, asked: DatabaseIdentity, database: str) -> None:
    """Raise where the database `database` is not what is asked for.

    Raises:
        Refused: another project's, another environment's, or of a stricter tier.

    """
    why = difference(known, asked)
    if why:
        raise Refused(f"the database {database} is another one: {why}", next_step=remedy(asked))


def remedy(asked: DatabaseIdentity) -> str:
    """Return what to do about a database that is another one."""
    return (
        f"look at the URL of {asked.environment} and at deploy.yml; where it is a copy that shall "
        f"be {asked.environment}: invoke identity --env {asked.environment} --adopt --reason WHY"
    )


def recorded(known: DatabaseIdentity | None, asked: DatabaseIdentity) -> DatabaseIdentity | None:
    """Return what a deployment writes; None: nothing.

    Development is never written: such a database is thrown away. A tier that is stricter than the
    one before is.
    """
    if asked.tier == TIERS[0] or asked == known:
        return None
    return asked


def adopted(asked: DatabaseIdentity) -> DatabaseIdentity | None:
    """Return what the correction writes; None: the database says nothing any more."""
    return None if asked.tier == TIERS[0] else asked


def guarding(known: DatabaseIdentity | None, asked: DatabaseIdentity) -> DatabaseIdentity:
    """Return whose confirmation a correction needs: the stricter one; of equals the present one."""
    if known is None or laxer(known.tier, asked.tier):
        return asked
    return known
