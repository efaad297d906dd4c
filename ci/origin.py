"""Who started this, on which machine, from which commit and CI run."""

import os
import secrets
import socket
from datetime import datetime
from pathlib import Path

from . import account, git
from .github.api import this_run
from .model import Origin

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def find_origin(root: Path) -> Origin:
    """Return the origin of a deployment of the repository at `root`."""
    env = os.environ
    return Origin(
        deployer=env.get("GITHUB_ACTOR") or account.name(),
        host=socket.gethostname(),
        commit=env.get("GITHUB_SHA") or git.read_or_none(root, "rev-parse", "HEAD"),
        ci_run=this_run(),
    )


def new_deployment_id(now: datetime) -> str:
    """Return a ULID: 26 characters, 48 bits of milliseconds and 80 random ones, sortable by time.

    https://github.com/ulid/spec
    """
    number = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
