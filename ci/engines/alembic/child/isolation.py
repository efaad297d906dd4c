"""Keeps the process to itself: its memory, and its variables of a request."""

from __future__ import annotations

import contextlib
import ctypes
import os

SET_DUMPABLE = 4  # of prctl(2)
BEFORE: dict[str, str | None] = {}  # variables that a request has set, as they were


def close_to_others() -> None:
    """Let no other process of the same user read our memory and variables. Linux alone knows how.

    Something that unapproved code left running may wait for the run that has the address.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)


def set_variables(wanted: dict[str, str]) -> None:
    """Set environment variables for one request, those of the one before put back."""
    for name, value in BEFORE.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    BEFORE.clear()
    BEFORE.update({name: os.environ.get(name) for name in wanted})
    os.environ.update(wanted)
