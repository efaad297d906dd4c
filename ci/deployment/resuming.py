"""What `resume` goes on with beside the deployments: a restore, a correction, a pruning."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import Refused
from ..model import Plan
from ..plan.differences import differences
from ..report.backup import pin_line, prune_text, restored_text, swapped_text
from . import adoption, corrections, keeping, restores, swaps, unfinished
from .orders import Proposal, Request
from .unfinished import Begun
from .work import Work

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What a task came to: a document, and the text of it."""

    document: object
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What is left of a task that was begun: its plan, and what does it."""

    plan: Plan
    carry_out: Callable[[], Resumed]


def propose(work: Work) -> Rest | None:
    """Propose to go on with the task that was begun and not done; None: there is none. Reads only.

    Raises:
        Refused: what it would do is not what it began with.

    """
    begun = unfinished.find(work)
    return None if begun is None else _rest(work, begun)


def ended(work: Work) -> Resumed | None:
    """Return the swap that a killed run had done, of which nobody heard; None: there is none."""
    marker = swaps.ended(work, None)
    if marker is None:
        return None
    kept = marker.get("kept")
    return Resumed(document=swaps.report_of(marker), text=swapped_text(work.settings.name, kept))


def _rest(work: Work, begun: Begun) -> Rest:
    given, name = dict(begun.arguments), work.settings.name
    request = Request(verb=begun.verb, arguments=given)
    if begun.verb == "restore":
        return _restore(work, begun, request)
    if begun.verb == "backup.prune":
        prune = keeping.propose_prune(work, request)
        return _of(
            begun,
            prune,
            lambda: _told(keeping.prune(work, prune), lambda c: prune_text(c, dry_run=False)),
        )
    if begun.verb == "backup.keep":
        pin = keeping.propose_pin(work, request)
        return _of(
            begun,
            pin,
            lambda: _told(keeping.pin(work, pin), lambda p: pin_line(p.backup, p.pin)),
        )
    if begun.verb == "identity":
        adopted = adoption.propose_adoption(work, request)
        text = f"the database is {name}'s now"
        return _of(begun, adopted, lambda: _told(adoption.adopt(work, adopted), lambda _: text))
    correction = corrections.propose(work, request)
    return _of(
        begun,
        correction,
        lambda: _told(
            corrections.correct(work, correction),
            lambda changes: "\n".join(f"{begun.verb} {change}" for change in changes),
        ),
    )


def _restore(work: Work, begun: Begun, request: Request) -> Rest:
    name = work.settings.name
    if request.has("drop-old"):
        drop = swaps.propose_drop(work, request)
        return _of(begun, drop, lambda: _told(swaps.drop_databases(work, drop), "\n".join))
    if request.has("swap"):
        swap = swaps.propose_swap(work, request)
        return _of(
            begun,
            swap,
            lambda: _told(swaps.swap(work, swap), lambda r: swapped_text(name, r.kept)),
        )
    restore = restores.propose_restore(work, request)
    return _of(
        begun,
        restore,
        lambda: _told(
            restores.run_restore(work, restore),
            lambda r: restored_text(name, r.restored, r.kept),
        ),
    )


def _told(report: T, words: Callable[[T], str]) -> Resumed:
    return Resumed(document=report, text=words(report))


def _of(begun: Begun, proposal: Proposal[T], carry_out: Callable[[], Resumed]) -> Rest:
    """Return what is left, where that is exactly what was begun.

    Raises:
        Refused: it is not; says how.

    """
    plan = proposal.plan
    if plan.digest != begun.digest:
        raise Refused(
            f"what {begun.deployment} began cannot be resumed as it began: "
            + "; ".join(differences(begun.plan, plan)[:5]),
            state="this command changed nothing",
            next_step=f"look, and begin anew with what there is now: {begun.command}",
        )
    return Rest(plan=plan, carry_out=carry_out)
