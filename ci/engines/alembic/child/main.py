"""Answers requests, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from .errors import StopRequested, describe_error
from .isolation import close_to_others
from .pipe import Pipe
from .project import Project

SERVER = (16, 0)  # what a dialect believes where there is no server
DOES: dict[str, Callable[[Project], dict[str, Any]]] = {
    "graph": Project.graph,
    "bookkeeping": Project.bookkeeping,
    "prepare": Project.prepare,
    "run": Project.run,
    "check": Project.check,
    "create": Project.create,
    "render": Project.render,
}


def hook(current: dict[str, Project]) -> None:
    """Listen to every engine and connection of the request that is answered."""
    connected = Engine.raw_connection

    def raw_connection(engine: Engine) -> Any:
        project = current["now"]
        if "connect" in project.request:
            return connected(engine)
        engine.dialect.default_schema_name = "public"
        engine.dialect.server_version_info = SERVER
        return project.nowhere

    Engine.raw_connection = raw_connection
    event.listen(Engine, "do_connect", lambda *arguments: current["now"].connect(*arguments))
    event.listen(Pool, "connect", lambda *arguments: current["now"].connected(*arguments))
    event.listen(
        Engine,
        "before_cursor_execute",
        lambda *arguments: current["now"].before(*arguments),
        retval=True,
    )
    event.listen(
        Engine, "after_cursor_execute", lambda *arguments: current["now"].after(*arguments)
    )


def main() -> int:
    """Answer requests until one fails or the parent is gone."""
    close_to_others()
    sys.dont_write_bytecode = True  # a file that is written from here on is not ours
    pipe = Pipe()
    pipe.tell(ready=True)
    current: dict[str, Project] = {}
    hook(current)
    while True:
        request = pipe.read()
        try:
            current["now"] = Project(request, pipe)
            pipe.tell(result=DOES[request["do"]](current["now"]))
        except StopRequested:
            return 0
        except (Exception, SystemExit) as error:  # noqa: BLE001  # judged at the other end
            pipe.tell(error=describe_error(error))
            return 0
