"""apt-get that waits where somebody else holds its locks, and says who: an upgrade, another job.

Of its own accord apt-get waits for dpkg's lock only, and fails at those of its lists and archives.
"""

import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

LOCKS = (
    Path("/var/lib/dpkg/lock-frontend"),
    Path("/var/lib/dpkg/lock"),
    Path("/var/lib/apt/lists/lock"),
    Path("/var/cache/apt/archives/lock"),
)
WITHIN = 900.0  # seconds; an unattended upgrade takes some minutes
ASKED_EVERY = 0.5  # seconds
FLOCK = "hhqqi"  # type, whence, start, length, process: struct flock of 64-bit Linux


def holder(lock: Path) -> int | None:
    """Return the process that holds a lock, 0 where it cannot be seen; None: nobody holds it."""
    if not lock.exists():
        return None
    with lock.open("rb") as file:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, process = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else process


def wait(locks: Sequence[Path], deadline: float) -> None:
    """Wait until nobody holds any of the locks; say once for each holder who it is.

    Raises:
        SystemExit: somebody still holds one at the deadline.

    """
    told = set()
    while held := [(lock, process) for lock in locks if (process := holder(lock)) is not None]:
        lock, process = held[0]
        left = deadline - time.monotonic()
        if left < 0:
            raise SystemExit(f"{_who(process)} still holds {lock}: end it, or try again later")
        if held[0] not in told:
            told.add(held[0])
            _say(f"waiting up to {left:.0f} s for {_who(process)}, which holds {lock}")
        time.sleep(ASKED_EVERY)


def main(arguments: Sequence[str], *, locks: Sequence[Path] = LOCKS, within: float = WITHIN) -> int:
    """Run apt-get when its locks are free, and again where another was quicker; return its code."""
    deadline = time.monotonic() + within
    argv = ["apt-get", "-o", f"DPkg::Lock::Timeout={within:.0f}", *arguments]
    while True:
        wait(locks, deadline)
        done = subprocess.run(argv, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode == 0 or all(holder(lock) is None for lock in locks):
            return done.returncode


def _who(process: int) -> str:
    name = Path(f"/proc/{process}/comm")
    return f"{name.read_text().strip()}, process {process}" if name.exists() else "another process"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
