"""What requests became of that were sent while a service restarted. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..model import Evidence

SERVER_ERROR = 500  # the first status by which a server says that the fault is its own


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a probe.

    sent: seconds since the probe began.
    took: seconds until it was answered, or given up.
    lost: how it was lost; empty where it was answered.
    """

    sent: float
    took: float
    lost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a probe's requests came to.

    how: each way in which requests were lost, with how many.
    longest_gap: seconds from the first of the lost ones in a row to the next that was answered.
    slowest: seconds of the slowest answer.
    served_before: whether the service answered before the restart; otherwise it lost nothing new.
    """

    asked: int
    how: tuple[tuple[str, int], ...] = ()
    longest_gap: float = 0.0
    slowest: float = 0.0
    served_before: bool = True

    @property
    def lost(self) -> int:
        """How many requests were lost."""
        return sum(count for _, count in self.how)

    def __str__(self) -> str:
        text = f"lost {self.lost} of {self.asked} requests"
        if self.lost:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.how)
            text += f" ({kinds}), the longest gap {self.longest_gap:.2f} s"
        elif self.asked:
            text += f", the slowest answer {self.slowest:.2f} s"
        return text if self.served_before else f"{text}; it did not answer before either"


def how_lost(code: int, before: int) -> str:
    """Return how a request was lost that got an answer; empty where it was not.

    Args:
        code: the answer's status.
        before: the status of before the restart; 0: there was no answer.

    """
    return f"status {code}" if code >= SERVER_ERROR and code != before else ""


def tally(requests: Iterable[Request], *, until: float, served_before: bool = True) -> Tally:
    """Return what requests came to that ended; `until` is when they were counted, as `sent`."""
    ordered = sorted(requests, key=lambda request: request.sent)
    longest, since = 0.0, None
    for request in ordered:
        if request.lost:
            since = request.sent if since is None else since
        elif since is not None:
            longest, since = max(longest, request.sent - since), None
    if since is not None:  # nothing was answered any more
        longest = max(longest, until - since)
    return Tally(
        asked=len(ordered),
        how=tuple(Counter(request.lost for request in ordered if request.lost).most_common()),
        longest_gap=longest,
        slowest=max((request.took for request in ordered if not request.lost), default=0.0),
        served_before=served_before,
    )


def evidence(counted: Tally | None) -> Evidence:
    """Return the numbers as a step records them; none where nothing was asked."""
    if counted is None:
        return ()
    return (
        ("requests_asked", str(counted.asked)),
        ("requests_lost", str(counted.lost)),
        ("longest_gap", f"{counted.longest_gap:.2f}"),
        ("slowest_answer", f"{counted.slowest:.2f}"),
    )


def exceeds(counted: Tally | None, at_most: int | None) -> bool:
    """Tell whether a restart lost more requests than it may; a service that was down loses none."""
    if counted is None or at_most is None or not counted.served_before:
        return False
    return counted.lost > at_most
