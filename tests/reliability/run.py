"""One run of `windlass` that may be held where it is, and ended from outside."""

import json
import os
import select
import signal
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Self

from tests import warm
from tests.kit import Ran
from tests.reliability import stops
from tests.reliability.stops import Halt

MODULE = "tests.reliability.stops"
SERVERS: set[int] = set()  # the interpreters that runs are forked from
SERVERS_OWN: set[int] = set()  # what they have started for themselves


def windlass(
    arguments: tuple[str, ...], *, cwd: Path, env: Mapping[str, str], within: float
) -> Ran:
    """Run it to its end."""
    run = Run.begin(arguments, cwd=cwd, env=env)
    return run.end(within)


@dataclass
class Run:
    """A run that has begun."""

    child: warm.Child
    streams: tuple[IO[bytes], IO[bytes]]
    door: socket.socket
    place: Path
    line: socket.socket | None = None
    passed: str = ""  # what it stopped at
    ended: Ran | None = field(default=None)

    @classmethod
    def begin(
        cls,
        arguments: tuple[str, ...],
        *,
        cwd: Path,
        env: Mapping[str, str],
        halt: Halt = stops.NOWHERE,
    ) -> Self:
        """Begin a run; it stops at what it passes that matches."""
        place = Path(tempfile.mkdtemp(prefix="wl-gate-"))
        door = socket.socket(socket.AF_UNIX)
        door.bind(str(place / "gate"))
        door.listen(1)
        order = {**asdict(halt), "gate": str(place / "gate") if halt.pattern else ""}
        streams = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  # see end
        with Path(os.devnull).open() as nothing:
            child = warm.Child(
                arguments,
                cwd=cwd,
                env={**env, stops.VARIABLE: json.dumps(order)},
                streams=(nothing.fileno(), streams[0].fileno(), streams[1].fileno()),
                module=MODULE,
            )
        if not SERVERS:
            SERVERS.add(_parent(child.pid))
            SERVERS_OWN.update(pid for pid, _ in _children() if pid != child.pid)
        return cls(child, streams, door, place)

    def stopped(self, within: float = 120.0) -> bool:
        """Wait until the run stands at its place; False: it ended before, or is too slow."""
        events = select.poll()
        for number in (self.door.fileno(), self.child.fileno()):
            events.register(number, select.POLLIN)
        if self.door.fileno() not in dict(events.poll(within * 1000)):
            return False
        self.line, _ = self.door.accept()
        with self.line.makefile("r") as words:
            self.passed = words.readline().strip()
        return True

    def go_on(self, order: bytes = stops.GO) -> None:
        """Let it go on: to its end, or to the next thing that it waits for."""
        if self.line is not None:
            try:
                self.line.sendall(order)
            except OSError:
                return  # it was killed there
            finally:
                self.line.close()
                self.line = None

    def signal(self, number: int) -> None:
        """Send a signal to the run alone, not to its children."""
        try:
            os.kill(self.child.pid, number)
        except ProcessLookupError:
            return  # it has ended

    def end(self, within: float) -> Ran:
        """Wait for its end; one that takes too long is killed with its group, its code is -99."""
        if self.ended is None:
            self.go_on()
            try:
                code = self.child.wait(within)
            except TimeoutError:
                code = -99
            out, err = (_text(stream) for stream in self.streams)
            for part in (*self.streams, self.door):
                part.close()
            (self.place / "gate").unlink()
            self.place.rmdir()
            self.ended = Ran(code, out, err)
        return self.ended

    def kill(self) -> Ran:
        """End it as `kill -9` does; its children live on."""
        self.signal(signal.SIGKILL)
        return self.end(20)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def orphans() -> list[str]:
    """Return the children of runs that live though their runs have ended."""
    return [words for pid, words in _children() if pid not in SERVERS_OWN]


def _children() -> list[tuple[int, str]]:
    """Return the children of the interpreters, which get what killed runs leave."""
    lines = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status = (place / "stat").read_text().rsplit(")", 1)[1].split()
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        if int(status[1]) in SERVERS and status[0] != "Z":
            lines.append((int(place.name), " ".join(words.split())))
    return lines


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
