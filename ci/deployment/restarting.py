"""Restarts, announced: what a killed run left running is over before another one begins."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from .. import alive
from ..alive import Alive
from ..database import markers
from ..errors import StepFailed, Unchanged, WindlassError
from ..plan import restarts
from ..plan.restarts import LeftRestart
from .journal import server_clock
from .work import Work


@dataclass(frozen=True, slots=True)
class Announcer:
    """Announces each command that changes the service, in the database, while it runs."""

    work: Work

    @contextmanager
    def __call__(self, child: Alive) -> Iterator[None]:
        """Keep a marker of the child for the length of the block."""
        work, config = self.work, self.work.settings.environment.restart
        name = work.restarter.name if work.restarter is not None else ""
        within = config.within.seconds if config is not None else 0.0
        detail = restarts.detail(name, alive.machine(), child, within=within)
        key = markers.announce(work.database, restarts.KIND, detail)
        try:
            yield
        finally:
            try:
                markers.clear(work.database, key)
            except (WindlassError, psycopg.Error):
                # The restart is over, and its marker says who it was: the next run sees that.
                work.reporter.note("the database did not take that the restart's command is over")


def end_left(work: Work) -> None:
    """Wait for restarts that killed runs left running, and end those that take too long.

    Called under the deployment lock: whoever announced them is dead.

    Raises:
        StepFailed: one cannot be ended.

    """
    for left in restarts.left(work.database.read("lock", markers.read)):
        seconds = left.seconds_left(server_clock(work.database))
        if left.is_on(alive.machine()):
            _end_here(left, seconds, work)
        elif seconds > 0:
            work.reporter.note(
                f"waiting {seconds:.0f} s for the restart ({left.command}) that a killed run began "
                f"on {left.machine.host} at {left.began:%H:%M:%S}: whether it still runs there "
                "cannot be seen from here"
            )
            time.sleep(seconds)
        markers.clear(work.database, left.key)


def _end_here(left: LeftRestart, seconds: float, work: Work) -> None:
    pid = left.child.pid
    if not alive.lives(left.child):
        return
    work.reporter.note(
        f"waiting for the restart ({left.command}) that a killed run left behind: pid {pid}, "
        f"at most {seconds:.0f} s"
    )
    if alive.wait(left.child, seconds):
        return
    if not alive.end(left.child):
        raise StepFailed(
            f"the restart that a killed run left behind cannot be ended: pid {pid}, {left.command}",
            state=Unchanged("a second restart beside it was not begun"),
            next_step=f"end it as a user who may: kill -9 -{pid}; and start the same command again",
        )
    work.reporter.note(f"ended the restart that a killed run left behind: pid {pid}")
