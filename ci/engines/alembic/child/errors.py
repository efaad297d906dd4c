"""What goes wrong here, and what is known of an error of the project."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent) + os.sep, os.path.realpath(Path(__file__).parent) + os.sep
PREFIX = ["."]  # from there to here, as the requests say


class StopRequested(BaseException):
    """The parent asked to stop; not to be caught by a revision."""


class ReadsDataError(Exception):
    """A revision looks at the database, and there is none in offline mode."""


class ProjectError(Exception):  # becomes a message, never seen as an exception
    """The project is not as the request needs it; the text is for people."""


def shown(path: str) -> str:
    """Return a path as people see it from the directory of deploy.yml."""
    return os.path.normpath(Path(PREFIX[0]) / os.path.relpath(path))


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return what is known of an error: kind, words, SQLSTATE, the project's last line in it."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if not f.filename.startswith(HERE) and not _installed(f.filename)]
    at = f"{shown(ours[-1].filename)}:{ours[-1].lineno}" if ours else ""
    if isinstance(error, SyntaxError) and error.filename:
        at = f"{shown(error.filename)}:{error.lineno}"
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    words = primary or " ".join(str(cause).split()) or type(cause).__name__
    return {"kind": type(error).__name__, "words": words, "sqlstate": state, "at": at}


def _installed(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith((sys.base_prefix, "<"))
