"""What other processes of the same user can read of this one. Linux alone; elsewhere nothing.

The variables of the job are in our first block of memory, and `/proc/PID/environ` shows it to every
process of the same user: to env.py, to a migration's server, to what either left running.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

SET_DUMPABLE = 4  # of prctl(2)
ENV_START, ENV_END = 49, 50  # fields of /proc/self/stat, from 0


def close_to_others() -> None:
    """Keep other processes from our memory, and take the variables out of where they began.

    The memory of a process that is not dumpable is root's alone. `os.environ`, and what libraries
    read by getenv(3), stay as they are.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)
    start, end = _first_block()
    if not start:
        return
    for name, value in list(os.environ.items()):
        os.environ[name] = value  # setenv(3) copies it to a place of its own
    ctypes.memset(start, 0, end - start)


def _first_block() -> tuple[int, int]:
    """Return where our variables were put when we were started; (0, 0) where nobody says."""
    try:
        text = Path("/proc/self/stat").read_text()
    except OSError:
        return 0, 0
    fields = text.rpartition(")")[2].split()  # a program's name may have spaces; two fields less
    return int(fields[ENV_START - 2]), int(fields[ENV_END - 2])
