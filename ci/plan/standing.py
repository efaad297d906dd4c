"""What stands of a unit of work, in words, from what was read. Pure."""

from collections.abc import Collection

from ..model import Facts, Intent, Partial

SHOWN = 8  # names at most


def standing(intent: Intent, applied: Collection[str], partials: tuple[Partial, ...] = ()) -> str:
    """Say which migrations of a unit stand and which do not, as the history has them."""
    if not intent.migrations:
        return "no migration was to run"
    half = {partial.name: partial for partial in partials if partial.name in intent.migrations}
    whole = [name for name in intent.migrations if name in applied and name not in half]
    absent = [name for name in intent.migrations if name not in applied and name not in half]
    parts = [f"{name}: {partial}" for name, partial in half.items()]
    count = len(intent.migrations)
    if intent.direction == "down":
        undone = f"undone: {_names(absent)}" if absent else f"none of {count} migrations is undone"
        return _joined(undone, *([f"still applied: {_names(whole)}"] if whole else []), *parts)
    if len(whole) == count:
        return f"all its migrations stand: {_names(whole)}"
    missing = [f"not applied: {_names(absent)}"] if absent else []
    if whole:
        return _joined(
            f"{len(whole)} of {count} migrations stand: {_names(whole)}", *parts, *missing
        )
    if parts:
        return _joined("none stands whole", *parts, *missing)
    return f"none of its {count} migrations stands" if count > 1 else f"{absent[0]} does not stand"


def _joined(*parts: str) -> str:
    return "; ".join(parts)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def taken_back(
    intent: Intent,
    applied: Collection[str],
    partials: tuple[Partial, ...],
    fingerprint: str,
    *,
    lossy: bool = False,
) -> str:
    """Say whether the schema is what it was when the unit began, as read after a rollback.

    `lossy`: it took values away that the rollback does not bring back.
    """
    before = set(intent.before)
    standing_still = [name for name in intent.migrations if name in applied and name not in before]
    half = [
        f"{partial.name}: {partial}" for partial in partials if partial.name in intent.migrations
    ]
    lost = sorted(before - set(applied))
    if standing_still or half:
        stay = [f"still applied: {_names(standing_still)}"] if standing_still else []
        return _joined("rolled back in part", *stay, *half)
    if lost:
        return f"rolled back; applied before, and not now: {_names(lost)}"
    if fingerprint and fingerprint != intent.schema_fingerprint:
        return (
            "rolled back: the history is as it was before, and the schema is not: the rollback "
            "scripts leave something else"
        )
    if lossy:
        return "rolled back: the definitions are those of before, and not every value is"
    return "rolled back: the schema is as it was before"


def unchanged(before: Facts | None, now: Facts | None, name: str) -> str:
    """Say whether the live database `name` is what it was, of what was read before and now.

    None: it could not be read. Empty where it was not read before.
    """
    if before is None:
        return ""
    if now is None:
        return f"whether the live database {name} is as before is not known: it does not answer"
    if before.target != now.target:
        return f"the name {name} is another database's now"
    differences = [
        word
        for word, same in (
            ("history", (before.history, before.partials) == (now.history, now.partials)),
            ("schema", before.schema_fingerprint == now.schema_fingerprint),
        )
        if not same
    ]
    if differences:
        return f"the live database {name} has another {' and another '.join(differences)} now"
    return f"the live database {name} is unchanged: it has the history and the schema of before"
