"""Who started this, on which machine, from which commit and CI run."""

import getpass
import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from . import process
from .errors import ChildFailed, ConfigError
from .github.api import GithubApi, this_run
from .model import Origin
from .secret import Secret

# https://HOST/OWNER/NAME.git, ssh://git@HOST:22/OWNER/NAME.git, git@HOST:OWNER/NAME.git
REMOTE = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/]+@)?(?P<a>[^:/@]+)(?::\d+)?/|(?:[^@/:]+@)?(?P<b>[^:/@]+):)"
    r"(?P<name>[^/:]+/[^/:]+?)(?:\.git)?/?"
)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def find_origin(root: Path) -> Origin:
    """Return the origin of a deployment of the repository at `root`."""
    env = os.environ
    return Origin(
        deployer=env.get("GITHUB_ACTOR") or getpass.getuser(),
        host=socket.gethostname(),
        commit=env.get("GITHUB_SHA") or _git(root, "rev-parse", "HEAD"),
        ci_run=this_run(),
    )


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository on GitHub, or on a GitHub Enterprise server."""

    host: str
    name: str  # OWNER/NAME

    @property
    def site(self) -> str:
        """Its address for people."""
        return f"https://{self.host}/{self.name}"

    @property
    def api(self) -> str:
        """The address of its server's API."""
        if self.hosted:
            return f"https://api.{self.host}"
        return f"https://{self.host}/api/v3"

    @property
    def hosted(self) -> bool:
        """Whether GitHub itself runs the server: github.com, or an enterprise's at ghe.com."""
        return self.host == "github.com" or self.host.endswith(".ghe.com")


def find_remote(root: Path) -> Remote | None:
    """Return the repository that git's remote `origin` names; None where it names none."""
    return parse_remote(_git(root, "remote", "get-url", "origin") or "")


def parse_remote(url: str) -> Remote | None:
    """Return the repository of a remote's URL, https or ssh; None where it is something else."""
    found = REMOTE.fullmatch(url)
    return Remote(found["a"] or found["b"], found["name"]) if found else None


def open_github(root: Path, *, note: Callable[[str], None]) -> tuple[GithubApi, str]:
    """Return the API of this repository, and its address for people.

    From what a workflow sets; elsewhere from git's remote, with GITHUB_TOKEN or GH_TOKEN. An
    enterprise's own server is given GH_ENTERPRISE_TOKEN alone, as `gh` does: a remote could name
    any host.

    Raises:
        ConfigError: there is no token, or nothing says which repository it is.

    """
    env, remote = os.environ, find_remote(root)
    name = env.get("GITHUB_REPOSITORY") or (remote.name if remote else "")
    if not name:
        raise ConfigError(
            "nothing says which repository on GitHub this is",
            next_step="git remote add origin URL, or export GITHUB_REPOSITORY=OWNER/NAME",
        )
    server = urlsplit(env.get("GITHUB_SERVER_URL", "")).hostname
    there = Remote(server or (remote.host if remote else "github.com"), name)
    known = there.hosted or server is not None
    names = ("GITHUB_TOKEN", "GH_TOKEN") if known else ("GH_ENTERPRISE_TOKEN",)
    token = next((env[one] for one in names if env.get(one)), None)
    if not token:
        raise ConfigError(
            f"there is no token to ask GitHub about {name} with",
            next_step=f"export {names[-1]}=$(gh auth token --hostname {there.host}), or a token "
            "with actions: read, administration: read, environments: read, secrets: read and "
            "variables: read",
        )
    return GithubApi(env.get("GITHUB_API_URL") or there.api, name, Secret(token), note), there.site


def new_deployment_id(now: datetime) -> str:
    """Return a ULID: 26 characters, 48 bits of milliseconds and 80 random ones, sortable by time.

    https://github.com/ulid/spec
    """
    number = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        found = process.run(["git", "-C", str(root), *arguments], within=10)
    except ChildFailed:  # not a repository, or no git here: a deployment needs neither
        return None
    return found.stdout.strip()
