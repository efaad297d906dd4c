"""Which members of a service are restarted next, and what runs on each, from their markers. Pure.

A marker is written before a member is restarted, and another one when it is proven and has passed
its smoke tests. They last until the unit of work is done, so that a run that goes on knows both.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..database.markers import Marker

KIND = "member"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the markers tell of one member that a run began to restart.

    keys: of its markers.
    instance: what served when it was proven; empty: it was not.
    """

    member: str
    keys: tuple[str, ...]
    instance: str = ""


def detail(member: str, plan: str, instance: str = "") -> dict[str, str]:
    """Return what a marker says; `plan` is the digest that the unit is of."""
    return {"member": member, "plan": plan, "instance": instance}


def marks(
    markers: Sequence[Marker], runs: Collection[str], plan: str
) -> tuple[tuple[Mark, ...], tuple[str, ...]]:
    """Return the members that runs of this unit began, in order, and the markers of other units.

    Args:
        markers: all of the database, the oldest first.
        runs: the ids of the unit's runs, this one included.
        plan: the unit's digest. With another one other code may be installed since: a member was
            begun, and is not proven.

    """
    seen: dict[str, Mark] = {}
    foreign = []
    for marker in markers:
        if marker.kind != KIND:
            continue
        if marker.deployment not in runs:
            foreign.append(marker.id)
            continue
        name = marker.get("member")
        before = seen.get(name, Mark(name, ()))
        # The newest counts: one that is begun anew is not proven any more.
        instance = marker.get("instance") if marker.get("plan") == plan else ""
        seen[name] = Mark(name, (*before.keys, marker.id), instance)
    return tuple(seen.values()), tuple(foreign)


def is_done(mark: Mark | None, instance: str) -> bool:
    """Tell whether a member needs no restart: it was proven, and the same instance serves."""
    return mark is not None and bool(mark.instance) and mark.instance == instance


@dataclass(frozen=True, slots=True)
class Seen:
    """A member as it was read.

    instance: what serves there now; empty: nothing does.
    problem: why that is not known; empty: it is.
    """

    member: str
    instance: str = ""
    problem: str = ""


def told(members: Sequence[Seen], known: Sequence[Mark]) -> str:
    """Say on which members the new version runs, on which the old one, and what is not known."""
    by_name = {mark.member: mark for mark in known}
    new, old, unproven, down, parts = [], [], [], [], []
    for seen in members:
        mark = by_name.get(seen.member)
        if seen.problem:
            parts.append(f"what runs on {seen.member} is not known: {seen.problem}")
        elif not seen.instance:
            down.append(seen.member)
        elif mark is None:
            old.append(seen.member)
        elif is_done(mark, seen.instance):
            new.append(seen.member)
        else:
            unproven.append(seen.member)
    groups = (
        ("the new version runs on", new),
        ("restarted and not proven:", unproven),
        ("down:", down),
        ("not restarted, so the old version runs on", old),
    )
    words = [f"{title} {', '.join(names)}" for title, names in groups if names]
    return "; ".join([*words, *parts])
