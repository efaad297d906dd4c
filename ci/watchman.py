"""Ends what we started when we are gone: kill -9 leaves us no word.

The kernel's own way (PR_SET_PDEATHSIG) ends a child with the thread that started it, not with the
process, and the child alone, not its group.
"""

import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from typing import IO

# It is told of groups, and that they ended. When its input ends, which is when we do, it ends those
# that are left.
_SCRIPT = """
trap '' INT TERM HUP
groups=' '
while read -r how group; do
    case "$how" in
    +) groups="$groups$group " ;;
    -) case "$groups" in *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;; esac ;;
    esac
done
[ "$groups" = ' ' ] && exit
for group in $groups; do kill -TERM "-$group"; done
sleep 2
for group in $groups; do kill -KILL "-$group"; done
"""
COMMAND = ("/bin/sh", "-c", _SCRIPT)

# Its input, what waits for its end, and what says that it is no child of this process.
Started = tuple[IO[bytes], Callable[[], None], Callable[[], None]]


class Watchman:
    """A process of its own, which `start` starts when there is something to watch."""

    def __init__(self, start: Callable[[], Started]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._started: Started | None = None
        self._watched: set[int] = set()
        atexit.register(self.end)
        os.register_at_fork(after_in_child=self._leave)

    def stand(self) -> None:
        """Be there, before there is something to watch: what begins next is told of at once."""
        with self._lock:
            if self._started is None:
                self._started = self._start()

    def watch(self, group: int) -> None:
        """Have a group ended when we are gone."""
        with self._lock:
            self._tell(f"+ {group}\n")
            self._watched.add(group)

    def forget(self, group: int) -> None:
        """Leave a group alone: it has ended, and its number may be another's soon."""
        with self._lock:
            if group in self._watched:
                self._watched.remove(group)
                self._tell(f"- {group}\n")

    def end(self) -> None:
        """End it, and what it watches."""
        with self._lock:
            if self._started is not None:
                told, ended, _ = self._started
                told.close()
                ended()
            self._started = None
            self._watched = set()

    def _leave(self) -> None:
        """Let go of it in a fork of ours: it is our parent's."""
        self._lock = threading.Lock()
        if self._started is not None:
            told, _, another_ones = self._started
            told.close()
            another_ones()
        self._started = None
        self._watched = set()

    def _tell(self, line: str) -> None:
        if self._started is not None:
            with contextlib.suppress(OSError):  # somebody ended it: then nothing is watched
                self._started[0].write(line.encode())
