"""Who holds the deployment lock, as far as it can be seen, and what to do about it. Pure."""

from dataclasses import dataclass

BEAT = 10.0  # seconds between two words of a holder on a direct connection
QUIET = 3 * BEAT  # seconds without a word after which it is no longer at work as it should


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The session or the lease that holds the lock. None: our role may not see it.

    name: its application's, windlass/DEPLOYMENT/lock for one of ours.
    seconds: since it began.
    heard: seconds since its last word to the server.
    step: what its deployment's journal has last, and how long ago; empty: nothing.
    lasts: seconds after which a lease that is not prolonged falls; None: it is a session.
    """

    name: str
    address: str | None
    seconds: int | None
    pid: int | None = None
    heard: float | None = None
    step: str = ""
    lasts: float | None = None

    @property
    def ours(self) -> bool:
        """Whether it is a run of Windlass: one of this release is heard of every BEAT seconds."""
        return self.name.startswith("windlass/")

    def text(self) -> str:
        """Return who it is, since when and from where."""
        since = f", for {self.seconds} s" if self.seconds is not None else ""
        by = ", by a lease" if self.lasts is not None else f", pid {self.pid}"
        where = self.address or "an address that our role may not see"
        return f"{self.name or 'somebody'} from {where}{since}{by}{self._heard()}{self._step()}"

    def next_step(self, gone_after: float) -> str:
        """Return what to do, by what is known; `gone_after` is when a dead line is found."""
        if self.lasts is not None:
            return f"wait until it is done; a lease falls {self.lasts:.0f} s after its last word"
        end = f"select pg_terminate_backend({self.pid})"
        if self.heard is None:
            return (
                "wait until it is done; our role may not see when it was last heard of. A run of "
                f"this release whose machine is gone ends within {gone_after + BEAT:.0f} s"
            )
        if not self.ours:
            return f"it is no run of Windlass: look at it in pg_stat_activity; {end} ends it"
        if self.heard <= QUIET:
            return (
                "wait until it is done; where its machine is gone, its lock falls within "
                f"{max(0.0, gone_after + BEAT - self.heard):.0f} s"
            )
        return (
            f"it should say a word every {BEAT:.0f} s: its machine still answers, or its release "
            f"sets no keepalives. Make sure that it is dead, then {end}"
        )

    def _heard(self) -> str:
        return "" if self.heard is None else f", last heard of {self.heard:.0f} s ago"

    def _step(self) -> str:
        return f", {self.step}" if self.step else ""
