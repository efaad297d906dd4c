"""The user we run as; in a container the machine may know its number alone."""

import getpass
import os
import pwd
from pathlib import Path

from .errors import StepFailed


def name() -> str:
    """Return the name of our user; "uid N" where the machine knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def home() -> Path:
    """Return our home directory; where none is known, one that is not there."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def require_known(program: str, *, state: str) -> None:
    """Do nothing where the machine's list of users has ours: `ssh-keygen` runs for no other user.

    Asked when the program has failed, so that its failure is not taken for another one.

    Raises:
        StepFailed: the list has no such user; says how to run with one.

    """
    number = os.getuid()
    try:
        pwd.getpwuid(number)
    except KeyError:
        raise StepFailed(
            f"{program} refuses to run: this machine's list of users has none of number {number}",
            state=state,
            next_step=f"run as a user of /etc/passwd; in an image: RUN useradd --uid {number} "
            "--create-home deployer; or start the container with --user of one that it has",
        ) from None
