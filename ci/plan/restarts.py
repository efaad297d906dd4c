"""A restart that a killed run left behind, as its marker tells of it, and what to do. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..alive import Alive, Machine
from ..database.markers import Marker

KIND = "restart"
LONGEST = timedelta(hours=1)  # a marker that says more is not believed


@dataclass(frozen=True, slots=True)
class LeftRestart:
    """A restart's command that began under a run that is dead.

    key: of its marker.
    machine: where it began.
    until: by the server's clock; by then its own run would have ended it.
    """

    key: str
    command: str
    machine: Machine
    child: Alive
    began: datetime
    until: datetime

    def is_on(self, here: Machine) -> bool:
        """Tell whether its process id means on this machine what it meant where it began.

        Two machines may have one name, and a machine that started anew has other processes.
        """
        return bool(here.boot) and self.machine == here and bool(self.child.started)

    def seconds_left(self, now: datetime) -> float:
        """Return how long it may still take; `now` is by the server's clock."""
        return max(0.0, (self.until - now).total_seconds())


def detail(command: str, machine: Machine, child: Alive, *, within: float) -> dict[str, str]:
    """Return what a marker says of a restart's command, which may take `within` seconds."""
    return {
        "command": command,
        "host": machine.host,
        "boot": machine.boot,
        "pid": str(child.pid),
        "started": child.started,
        "within": f"{within:g}",
    }


def left(markers: tuple[Marker, ...]) -> tuple[LeftRestart, ...]:
    """Return the restarts among the markers of dead runs, the oldest first."""
    return tuple(_read(marker) for marker in markers if marker.kind == KIND)


def _read(marker: Marker) -> LeftRestart:
    pid, within = marker.get("pid"), marker.get("within")
    seconds = float(within) if within.replace(".", "", 1).isdecimal() else 0.0
    return LeftRestart(
        key=marker.id,
        command=marker.get("command"),
        machine=Machine(marker.get("host"), marker.get("boot")),
        child=Alive(int(pid) if pid.isdecimal() else 0, marker.get("started")),
        began=marker.at,
        until=marker.at + min(timedelta(seconds=seconds), LONGEST),
    )
