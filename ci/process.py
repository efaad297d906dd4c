"""The only door to child processes: own group, own environment, deadline, output redacted.

Children end with us, whatever ends us: a dump, a server of our own, a question. One does not: a
command that changes a service. Cut off half way it would leave the service neither old nor new, so
it is announced, lives on, and the next run waits for its end.
"""

import contextlib
import os
import pwd
import select
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import movement, watchman
from .alive import Alive, started_at
from .errors import ChildFailed, Late, Stalled, Stopped
from .heard import Heard
from .movement import Judge, Movement, endless
from .purposes import Purpose, passed
from .secret import Secret, redact

CHUNK = 1 << 20  # bytes; a pipe holds 64 KiB, larger reads only save calls
LONGEST = 500  # characters of such a line that are shown
ASKED_EVERY = 0.2  # seconds between two looks whether we shall stop
GRACE = 5.0  # seconds between SIGTERM and SIGKILL

Environment = Mapping[str, "str | Secret"]

# The gate of a child that is announced: it runs when it is told to, and not where we die before.
GATE = ("/bin/sh", "-c", 'read -r go || exit 125; exec "$@" </dev/null', "sh")
Announce = Callable[[Alive], AbstractContextManager[None]]


def unannounced(_child: Alive) -> AbstractContextManager[None]:
    """Announce a child to nobody."""
    return contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that ended. `stdout` and `stderr` are text with secrets taken out."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


def run(  # noqa: PLR0913  # what a child gets, each by its name
    argv: Sequence[str],
    *,
    purpose: Purpose,
    within: float,
    env: Environment | None = None,
    check: bool = True,
    user: str | None = None,
    announce: Announce | None = None,
    judge: Judge = endless,
) -> Finished:
    """Run a child to its end and return what it wrote.

    Args:
        argv: program and arguments; no shell sees them, and no secret belongs in them.
        purpose: says which of our variables it gets; of the others it sees nothing.
        within: seconds until the whole process group is ended.
        env: variables besides; LC_ALL=C is always set.
        check: False returns another exit status than 0 instead of raising.
        user: who runs it; None: we do. Another one needs root.
        announce: of a child that outlives us where we are killed: entered before it begins, left
            when it has ended. None: it ends with us.
        judge: is asked now and then whether it goes on.

    Raises:
        ChildFailed: it could not be started, ended with another status, or took too long.
        Stalled: its judge ended it.

    """
    if announce is None:
        child = _start(argv, purpose, env, stdin=subprocess.DEVNULL, user=user)
        out, err = _to_its_end(child, argv, within, judge)
    else:
        child, out, err = _announced(argv, purpose, env, announce, within)
    stdout, stderr = (redact(part.decode(errors="replace")) for part in (out, err))
    if check and child.returncode != 0:
        raise _failure(argv, child.returncode, _status(child.returncode), stderr)
    return Finished(tuple(argv), child.returncode, stdout, stderr)


def _announced(
    argv: Sequence[str],
    purpose: Purpose,
    env: Environment | None,
    announce: Announce,
    within: float,
) -> tuple[subprocess.Popen[bytes], bytes, bytes]:
    """Run a child that begins when it was announced; there is no moment in which nobody knows."""
    path = passed(os.environ, purpose).get("PATH", os.defpath)
    if shutil.which(argv[0], path=path) is None:
        raise _failure(argv, None, "could not be started: No such file or directory", "")
    child = _spawn((*GATE, *argv), purpose, env, stdin=subprocess.PIPE)
    gate = child.stdin
    assert gate is not None  # noqa: S101  # opened with PIPE
    try:
        with announce(Alive(child.pid, started_at(child.pid))):
            with contextlib.suppress(BrokenPipeError):
                gate.write(b"go\n")
                gate.flush()
            return (child, *_to_its_end(child, argv, within))
    finally:
        with contextlib.suppress(BrokenPipeError):
            gate.close()  # one that was not told to run ends now
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
        _close(child)


def _to_its_end(
    child: subprocess.Popen[bytes], argv: Sequence[str], within: float, judge: Judge = endless
) -> tuple[bytes, bytes]:
    """Return what a child writes until it ends; after `within` seconds its group is ended."""
    deadline, moves = time.monotonic() + within, Movement(judge, child.pid)
    try:
        while True:
            left = deadline - time.monotonic()
            look = left if judge is endless else min(left, movement.LOOK_EVERY)
            try:
                return child.communicate(timeout=max(0.0, look))
            except subprocess.TimeoutExpired as late:
                if time.monotonic() >= deadline:
                    _end_group(child)
                    stderr = redact((late.stderr or b"").decode(errors="replace"))
                    how = f"did not finish within {within:g} s"
                    raise _failure(argv, None, how, stderr, Late) from None
                _require_moving(argv, moves)
    except BaseException:
        _end_group(child)
        raise
    finally:
        _close(child)
        _watchman.forget(child.pid)


def _require_moving(argv: Sequence[str], moves: Movement) -> None:
    """Raise Stalled where the judge of a child has ended it."""
    if why := moves.reason():
        raise Stalled(
            redact(f"{argv[0]} was ended: {why}"),
            state=f"the command was: {redact(' '.join(argv))}",
            next_step="look at the line between here and the server, and start again",
            code=None,
            stderr="",
        )


def _close(child: subprocess.Popen[bytes]) -> None:
    for pipe_end in (child.stdout, child.stderr):
        if pipe_end is not None:
            pipe_end.close()


def stream(
    argv: Sequence[str],
    *,
    purpose: Purpose,
    env: Environment | None = None,
    stop: threading.Event | None = None,
    judge: Judge = endless,
) -> Iterator[bytes]:
    """Yield a child's standard output in chunks of at most `CHUNK` bytes.

    `judge` is asked now and then, while nothing comes, whether the child goes on.

    Raises after the last chunk when the child failed, so that a truncated stream cannot look
    whole. Closing the iterator early, or setting `stop` from another thread, ends the child's
    process group.
    """
    child = _start(argv, purpose, env, stdin=subprocess.DEVNULL)
    yield from _drain(argv, child, Movement(judge, child.pid), stop)


def pipe(
    argv: Sequence[str],
    source: Iterable[bytes],
    *,
    purpose: Purpose,
    env: Environment | None = None,
    judge: Judge = endless,
) -> Iterator[bytes]:
    """Feed `source` to a child's standard input and yield its standard output.

    Raises like `stream`; an error of `source` ends the child and is raised instead.
    """
    child = _start(argv, purpose, env, stdin=subprocess.PIPE)
    failed: list[BaseException] = []
    moves = Movement(judge, child.pid)
    feeder = threading.Thread(target=_feed, args=(child, source, failed, moves), daemon=True)
    feeder.start()
    try:
        yield from _drain(argv, child, moves)
    except ChildFailed:
        feeder.join()
        if failed:
            raise failed[0] from None
        raise
    feeder.join()
    if failed:
        raise failed[0]


def _feed(
    child: subprocess.Popen[bytes],
    source: Iterable[bytes],
    failed: list[BaseException],
    moves: Movement,
) -> None:
    pipe_in = child.stdin
    assert pipe_in is not None  # noqa: S101  # opened with PIPE by the only caller
    try:
        for chunk in moves.waited_for(source):
            if not _took(pipe_in, chunk):
                return
            moves.moved(len(chunk))
    except BaseException as error:  # noqa: BLE001  # handed to the reading thread, which raises it
        failed.append(error)
        _end_group(child)
    finally:
        with contextlib.suppress(BrokenPipeError):
            pipe_in.close()


def _took(pipe_in: IO[bytes], chunk: bytes) -> bool:
    """Write a chunk; False where the child stopped reading, and its exit status says why.

    Around the write alone: a BrokenPipeError of the source is a source that broke off, and must
    not look like its end.
    """
    try:
        pipe_in.write(chunk)
    except BrokenPipeError:
        return False
    return True


def _drain(
    argv: Sequence[str],
    child: subprocess.Popen[bytes],
    moves: Movement,
    stop: threading.Event | None = None,
) -> Iterator[bytes]:
    out, err = child.stdout, child.stderr
    assert out is not None and err is not None  # noqa: S101  # always opened with PIPE
    tail = Heard()
    # A child that fills its stderr pipe while we read only stdout would wait for ever.
    reader = threading.Thread(target=tail.extend, args=(err,), daemon=True)
    reader.start()
    try:
        while chunk := _next_chunk(argv, out.fileno(), moves, stop):
            moves.moved(len(chunk))
            with moves.elsewhere():
                yield chunk
        code = child.wait()
    except BaseException:  # GeneratorExit too: the caller wants no more
        _end_group(child)
        raise
    finally:
        _watchman.forget(child.pid)
        out.close()
        # Bounded: a daemon the child left behind may hold its stderr for ever. Not closed then:
        # closing waits for the reader.
        reader.join(GRACE)
        if not reader.is_alive():
            err.close()
    if code != 0:
        text = redact(bytes(tail).decode(errors="replace"))
        raise _failure(argv, code, _status(code), text)


@contextmanager
def background(  # noqa: PLR0913  # whose it is, and how it is started and ended
    argv: Sequence[str],
    *,
    purpose: Purpose,
    env: Environment | None = None,
    user: str | None = None,
    ends: int = signal.SIGTERM,
    cwd: Path | None = None,
    stdin: int | None = None,
) -> Iterator["Background"]:
    """Run a child for the length of a block; its group is ended behind it, by the signal `ends`.

    What it writes is dropped, but for the end of its standard error. `stdin`: a descriptor; None:
    nothing is to be read there.
    """
    source = subprocess.DEVNULL if stdin is None else stdin
    child = _start(argv, purpose, env, stdin=source, user=user, cwd=cwd)
    tail = Heard()
    assert child.stdout is not None and child.stderr is not None  # noqa: S101  # opened with PIPE
    readers = [
        threading.Thread(target=kept.extend, args=(pipe_end,), daemon=True)
        for pipe_end, kept in ((child.stdout, deque[bytes](maxlen=1)), (child.stderr, tail))
    ]
    for reader in readers:
        reader.start()

    try:
        yield Background(argv, child, readers[1], tail)
    finally:
        _end_group(child, ends)
        _watchman.forget(child.pid)
        for reader, pipe_end in zip(readers, (child.stdout, child.stderr), strict=True):
            reader.join(GRACE)
            if not reader.is_alive():
                pipe_end.close()


@dataclass(frozen=True, slots=True)
class Background:
    """A child that runs beside us."""

    argv: Sequence[str]
    child: subprocess.Popen[bytes]
    reader: threading.Thread
    tail: Heard

    def __call__(self) -> None:
        """Raise ChildFailed where the child has ended by itself, with the end of its errors."""
        code = self.child.poll()
        if code is not None:
            self.reader.join(GRACE)
            text = redact(bytes(self.tail).decode(errors="replace"))
            raise _failure(self.argv, code, _status(code), text)

    def log(self) -> str:
        """Return the end of what it wrote on its standard error, in one line."""
        text = redact(bytes(self.tail).decode(errors="replace"))
        lines = (line.strip()[:LONGEST] for line in text.splitlines() if line.strip())
        return " | ".join(dict.fromkeys(lines))  # a program that tries again says the same again


def _nothing() -> None: ...


class Talk:
    """A child that is spoken with, line by line, while it runs; its end is awaited, or forced.

    `purpose` and `env` are those of `run`: which of our variables pass, and which come besides.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        purpose: Purpose,
        env: Environment | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._argv = argv
        self._child = _start(argv, purpose, env, stdin=subprocess.PIPE, cwd=cwd)
        self._tail = Heard()
        err = self._child.stderr
        assert err is not None  # noqa: S101  # always opened with PIPE
        self._reader = threading.Thread(target=self._tail.extend, args=(err,), daemon=True)
        self._reader.start()

    def say(self, line: bytes) -> None:
        """Write a line to it; where it reads no more, `lines` ends and `end` says why."""
        pipe_in = self._child.stdin
        assert pipe_in is not None  # noqa: S101  # opened with PIPE
        with contextlib.suppress(BrokenPipeError):
            pipe_in.write(line + b"\n")
            pipe_in.flush()

    def lines(self, idle: Callable[[], None] = _nothing) -> Iterator[bytes]:
        """Yield what it writes, line by line, until it closes its standard output.

        `idle` is called now and then while nothing comes; what it raises ends the reading.
        """
        out = self._child.stdout
        assert out is not None  # noqa: S101  # always opened with PIPE
        ready, rest = select.poll(), b""
        ready.register(out.fileno(), select.POLLIN)
        while True:
            if not ready.poll(movement.LOOK_EVERY * 1000):
                idle()
                continue
            chunk = os.read(out.fileno(), CHUNK)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def kill(self) -> None:
        """End it now; `lines` ends with it."""
        _end_group(self._child)
        _watchman.forget(self._child.pid)

    def end(self, *, within: float = GRACE) -> None:
        """Close its standard input and wait for its end; force it after `within` seconds.

        Raises:
            ChildFailed: it ended with another status than 0, by itself.

        """
        pipe_in, out = self._child.stdin, self._child.stdout
        assert pipe_in is not None and out is not None  # noqa: S101  # opened with PIPE
        try:
            with contextlib.suppress(BrokenPipeError):
                pipe_in.close()
            code = self._child.wait(within)
        except subprocess.TimeoutExpired:
            code = 0
        finally:
            _end_group(self._child)
            _watchman.forget(self._child.pid)
            out.close()
            self._reader.join(GRACE)
            if not self._reader.is_alive() and self._child.stderr is not None:
                self._child.stderr.close()
        if code != 0:
            text = redact(bytes(self._tail).decode(errors="replace"))
            raise _failure(self._argv, code, _status(code), text)


def _next_chunk(
    argv: Sequence[str], descriptor: int, moves: Movement, stop: threading.Event | None
) -> bytes:
    """Return what the pipe holds, waiting for it; empty at its end."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    looked = time.monotonic()
    while stop is None or not stop.is_set():
        if ready.poll((movement.LOOK_EVERY if stop is None else ASKED_EVERY) * 1000):
            return os.read(descriptor, CHUNK)
        if time.monotonic() - looked >= movement.LOOK_EVERY:
            looked = time.monotonic()
            _require_moving(argv, moves)
    raise Stopped(
        f"{argv[0]} was stopped: a process that ran with it failed",
        state="its output was not kept",
        next_step="mend what failed, and start again",
    )


def _start(
    argv: Sequence[str],
    purpose: Purpose,
    env: Environment | None,
    *,
    stdin: int,
    user: str | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child that ends with us."""
    _watchman.stand()
    child = _spawn(argv, purpose, env, stdin=stdin, user=user, cwd=cwd)
    _watchman.watch(child.pid)
    return child


def _spawn(
    argv: Sequence[str],
    purpose: Purpose,
    env: Environment | None,
    *,
    stdin: int,
    user: str | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    # Root's groups would stay with another user, and with them what only they may read.
    groups: dict[str, Any] = {}
    if user is not None:
        groups = {"group": pwd.getpwnam(user).pw_gid, "extra_groups": ()}
    added = {k: v.reveal() if isinstance(v, Secret) else v for k, v in (env or {}).items()}
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**passed(os.environ, purpose), **added, "LC_ALL": "C"},
            user=user,
            **groups,
            cwd=cwd,
            start_new_session=True,  # its own group: a Ctrl-C reaches us, and we end it
        )
    except OSError as error:
        raise _failure(argv, None, f"could not be started: {error.strerror}", "") from error


def _start_watchman() -> tuple[IO[bytes], Callable[[], None], Callable[[], None]]:
    child = subprocess.Popen(
        watchman.COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.defpath},
        cwd="/",
        bufsize=0,
        start_new_session=True,  # what ends our group shall not end it
    )
    assert child.stdin is not None  # noqa: S101  # opened with PIPE

    def ended() -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)

    def another_ones() -> None:
        child.returncode = 0

    return child.stdin, ended, another_ones


_watchman = watchman.Watchman(_start_watchman)


def _end_group(child: subprocess.Popen[bytes], first: int = signal.SIGTERM) -> None:
    """End the child's whole group, politely first; returns when it is gone.

    Also where the child itself has ended: what it started may live on and hold our pipes.
    """
    deadline = time.monotonic() + GRACE
    alive = _signal(child, first)
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = _signal(child, 0)
    if alive and _signal(child, signal.SIGKILL):
        # For the child only: where no process reaps orphans, the group is never quite gone.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)


def _signal(child: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the child's group; False where no process is left that we may send it to."""
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        child.poll()  # an ended child that was not waited for would count as one of the group
    return True


def _status(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by {signal.Signals(-code).name}"


def _failure(
    argv: Sequence[str],
    code: int | None,
    how: str,
    stderr: str,
    kind: type[ChildFailed] = ChildFailed,
) -> ChildFailed:
    heard = Heard()
    heard.extend(stderr.encode().splitlines(keepends=True))
    lines = [line[:LONGEST] for line in bytes(heard).decode().splitlines()]
    ending = f": {' | '.join(lines)}" if lines else ""
    return kind(
        redact(f"{argv[0]} {how}{ending}"),
        state=f"the command was: {redact(' '.join(argv))}",
        next_step="run the command by hand to see more, mend what it says, and start again",
        code=code,
        stderr="\n".join(lines),
    )
