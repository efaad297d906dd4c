"""Lines of JSON, from the parent and to it."""

from __future__ import annotations

import io
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from .errors import StopRequested, describe_error

READ = 1 << 16  # bytes


class Pipe:
    """Lines of JSON in both directions. Standard output is taken out of the project's hands."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        sys.stdout = Printed(self)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        rest = b""
        while chunk := os.read(0, READ):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._answers.put(json.loads(line))
        os._exit(0)  # the parent is gone; the server rolls back what is open

    def read(self) -> dict[str, Any]:
        """Wait for the next line."""
        return self._answers.get()

    def tell(self, **message: Any) -> None:
        """Write a line."""
        with self._lock:
            self._out.write(json.dumps(message, default=str) + "\n")
            self._out.flush()

    def ask(self, run: Callable[[str], list[Any]], **message: Any) -> str:
        """Write a line and wait to be told to go on; run what is asked for meanwhile.

        Return what to run instead; mostly nothing.
        """
        self.tell(**message)
        while True:
            answer = self.read()
            if "sql" in answer:
                try:
                    self.tell(rows=run(answer["sql"]))
                except Exception as error:  # noqa: BLE001  # told, and judged at the other end
                    self.tell(failed=describe_error(error))
            elif answer.get("go"):
                return str(answer.get("instead", ""))
            else:
                raise StopRequested


class Printed(io.TextIOBase):
    """What the project prints, line by line."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._rest = pipe, ""

    def write(self, text: str) -> int:
        """Send every whole line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._pipe.tell(printed=line.rstrip())
        return len(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True
