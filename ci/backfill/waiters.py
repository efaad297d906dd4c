"""Sees from a second connection whether a session waits for a batch while it runs."""

import psycopg

from ..database.blockers import QUEUE, WATCH_EVERY, Beside, Lookout
from ..errors import WindlassError


class Waiters(Beside):
    """Notes how many sessions wait for ours while the block runs; 0 where that cannot be seen."""

    def __init__(self, lookout: Lookout, pid: int) -> None:
        self.lookout, self.pid = lookout, pid
        self.most = 0
        super().__init__()

    def _look(self) -> None:
        while not self._over.wait(WATCH_EVERY):
            try:
                row = self.lookout.connection().execute(QUEUE, {"pid": self.pid}).fetchone()
            except (psycopg.Error, WindlassError):
                return
            self.most = max(self.most, row[0] if row else 0)
