"""What a killed run left outside its transactions, and what is done about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ..database.markers import Marker
from . import rolling
from .quoting import ident
from .rolling import Mark

FILLING = "filling"  # a new database, while a backup is loaded into it
LOADED = "loaded"  # a database that is whole, and could not take the live one's place
SWAP = "swap"  # a restored database takes the live one's place
ARCHIVE = "archive"  # a backup, until its manifest is written
ORDER = "order"  # a restore, a correction and the like, until it is done


class Act(StrEnum):
    """What the next run under the deployment lock does about it."""

    DROP = "drop"  # the database
    REMOVE = "remove"  # the objects of the store
    FORGET = "forget"  # nothing is left of it but its marker
    SAY = "say"  # it was done; nobody heard of it
    TELL = "tell"  # a person decides
    WAIT = "wait"  # another run of its unit goes on with it
    END = "end"  # it was begun; what another run does takes its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing that a killed run left.

    act: what is done about it.
    what: what it is, for people.
    subject: the database's name, or the beginning of the keys.
    marker: the id of the marker that tells of it; empty: it was found without one.
    members: of a restart of several members, the ids of all markers.
    """

    act: Act
    what: str
    subject: str = ""
    marker: str = ""
    members: tuple[str, ...] = ()
    command: str = ""  # what a person does where we may not, or must not


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """The databases of the server: the live one's oid, and the comment of each."""

    live: int
    comments: Mapping[str, str]


def filling_comment(marker: str) -> str:
    """Return the comment of a database that is being filled: whose it is, for all who look."""
    return f"windlass: a backup is being loaded ({marker})"


def of_filling(
    marker: str, deployment: str, detail: Mapping[str, str], seen: Databases
) -> Leftover:
    """Return what is left of a restore that was killed while it loaded.

    `detail` is what it recorded: the new database, the name that it was made under, the backup,
    the oid of the live database, and whether a person chose the name. A marker that came with a
    backup is of another live database.
    """
    name, made, comments = detail.get("database", ""), detail.get("made", ""), seen.comments
    ours = ("", filling_comment(marker))
    if made and made != name and comments.get(made) in ours:  # it has not got its name yet
        name = made
    what = f"the database {name}, half restored from {detail.get('backup', '')} by {deployment}"
    if name not in comments or detail.get("live") != str(seen.live):
        return Leftover(act=Act.FORGET, what=what, subject=name, marker=marker)
    anybodys = detail.get("given") and name != made
    if comments[name] == filling_comment(marker) or not (anybodys or comments[name]):
        return Leftover(
            act=Act.DROP,
            what=what,
            subject=name,
            marker=marker,
            command=f"drop database {ident(name)}",
        )
    return Leftover(
        act=Act.TELL,
        what=f"the database {name}, which {deployment} may have made before it was killed",
        subject=name,
        marker=marker,
        command=f"look at it; where nobody needs it: drop database {ident(name)}",
    )


def of_loaded(
    marker: str, detail: Mapping[str, str], seen: Databases, *, restoring: bool
) -> Leftover:
    """Return a database whose swap failed: it waits for a person, or for the restore's next run.

    `restoring`: a restore in the live one's place begins anew, and loads the backup again.
    """
    name = detail.get("database", "")
    what = f"the database {name}, whose swap failed: it holds {detail.get('backup', '')}"
    act = Act.DROP if restoring else Act.TELL
    if name not in seen.comments or detail.get("live") != str(seen.live):
        act = Act.FORGET
    command = f"{detail.get('again', '')}, or drop database {ident(name or '-')}"
    return Leftover(act=act, what=what, subject=name, marker=marker, command=command)


def of_swap(marker: str, deployment: str, detail: Mapping[str, str]) -> Leftover:
    """Return what is left of a swap: its marker lies in the live database because it was done."""
    return Leftover(
        act=Act.SAY,
        what=f"deployment {deployment} put {detail.get('restored', '')} in place of the live "
        f"database before it was killed; the one before is {detail.get('kept', '')}",
        marker=marker,
    )


def of_order(marker: str, deployment: str, detail: Mapping[str, str]) -> Leftover:
    """Return a task that was begun and not done: its own command, or `resume`, goes on with it."""
    environment = detail.get("environment", "")
    return Leftover(
        act=Act.END,
        what=f"{deployment} began this, and it is not done: {detail.get('command', '')}",
        subject=marker,
        marker=marker,
        command=f"the same command goes on with it, and so does invoke resume --env {environment}",
    )


def of_members(deployment: str, begun: Sequence[Mark], *, goes_on: str) -> Leftover:
    """Return which members of a service a unit that is not done has begun to restart.

    Args:
        deployment: the last run of the unit.
        begun: the members.
        goes_on: the environment in which `resume` goes on with it.

    """
    return Leftover(
        act=Act.WAIT,
        what=f"deployment {deployment}, which is not finished, began to restart {_listed(begun)}",
        members=tuple(key for mark in begun for key in mark.keys),
        command=f"invoke resume --env {goes_on} goes on with the members that are left",
    )


def of_ended_members(deployment: str, markers: Sequence[Marker]) -> Leftover:
    """Return which members a run began to restart that nobody goes on with, such as one by hand.

    `markers`: of members, of several runs.
    """
    own = [marker for marker in markers if marker.deployment == deployment]
    begun, _ = rolling.marks(own, (deployment,), own[-1].get("plan") if own else "")
    return Leftover(
        act=Act.SAY,
        what=f"{deployment} began to restart {_listed(begun)}, and no run goes on with that",
        members=tuple(key for mark in begun for key in mark.keys),
    )


def _listed(begun: Sequence[Mark]) -> str:
    words = ("restarted and proven" if mark.instance else "not proven" for mark in begun)
    return ", ".join(f"{mark.member} ({how})" for mark, how in zip(begun, words, strict=True))


def of_archive(marker: str, deployment: str, place: str, names: tuple[str, ...]) -> Leftover:
    """Return what is left of a backup: archives that no manifest names; `names` lie under `place`.

    With a manifest, or where its removal has begun, it is no leftover.
    """
    what = f"archives of a backup of {deployment} that has no manifest: {place}"
    if _settled(names):
        return Leftover(act=Act.FORGET, what=what, subject=place, marker=marker)
    remedy = "where this account may not delete, remove them with one that may"
    return Leftover(act=Act.REMOVE, what=what, subject=place, marker=marker, command=remedy)


def _settled(names: tuple[str, ...]) -> bool:
    return not names or "manifest.json" in names or "pruned.json" in names


def unowned(place: str, names: tuple[str, ...]) -> Leftover | None:
    """Return archives without a manifest that no marker tells of; None where there are none.

    Another machine may be writing them: a person decides.
    """
    if _settled(names):
        return None
    return Leftover(
        act=Act.TELL,
        what=f"archives without a manifest: {place}",
        subject=place,
        command="no backup reads them; where none is being taken, remove them",
    )


def shut_out(name: str, limit: int) -> Leftover | None:
    """Return that a database lets no ordinary role in; an older Windlass could leave it so."""
    if limit != 0:
        return None
    return Leftover(
        act=Act.TELL,
        what=f"the database {name} has a connection limit of 0: no role but a superuser is let in",
        subject=name,
        command=f"alter database {ident(name)} connection limit -1",
    )


def of_restart(command: str, host: str, began: datetime) -> Leftover:
    """Return a command that changes the service, which a killed run may have left running."""
    return Leftover(
        act=Act.SAY,
        what=f"the restart ({command}) that a killed run began on {host} at {began:%H:%M:%S}",
    )


def of_role(name: str) -> Leftover:
    """Return a role that loaded an archive for a restore, which was killed."""
    return Leftover(
        act=Act.DROP,
        what=f"the role {name}, which a killed restore left",
        subject=name,
        command=f"drop role {ident(name)}",
    )


def text(leftover: Leftover, environment: str) -> str:
    """Return it as one line for people, with the command that ends it."""
    if leftover.act in (Act.TELL, Act.END, Act.WAIT):
        return f"{leftover.what}; {leftover.command}"
    by_hand = f", or {leftover.command}" if leftover.act is Act.DROP else ""
    return (
        f"{leftover.what}; the next task that changes something here settles it, such as invoke "
        f"deploy --env {environment}{by_hand}"
    )
