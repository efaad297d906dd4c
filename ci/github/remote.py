"""The repository on GitHub that a checkout belongs to, and how its API is reached."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .. import git
from ..errors import ConfigError
from ..secret import Secret
from .api import GithubApi

# https://HOST/OWNER/NAME.git, ssh://git@HOST:22/OWNER/NAME.git, git@HOST:OWNER/NAME.git
REMOTE = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/]+@)?(?P<a>[^:/@]+)(?::\d+)?/|(?:[^@/:]+@)?(?P<b>[^:/@]+):)"
    r"(?P<name>[^/:]+/[^/:]+?)(?:\.git)?/?"
)


@dataclass(frozen=True, slots=True)
class GithubRepository:
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


def find_remote(root: Path) -> GithubRepository | None:
    """Return the repository that git's remote `origin` names; None where it names none."""
    return parse_remote(git.read_or_none(root, "remote", "get-url", "origin") or "")


def parse_remote(url: str) -> GithubRepository | None:
    """Return the repository of a remote's URL, https or ssh; None where it is something else."""
    match = REMOTE.fullmatch(url)
    return GithubRepository(match["a"] or match["b"], match["name"]) if match else None


def require_own_api(address: str, repository: GithubRepository) -> None:
    """Raise ConfigError where an address is not the API of the repository's own server."""
    if address.rstrip("/") != repository.api:
        raise ConfigError(
            f"GITHUB_API_URL is {printable(address)}, and the API of {repository.host} is "
            f"{repository.api}; outside of a workflow no token is sent elsewhere",
            next_step="unset GITHUB_API_URL",
        )


def printable(address: str) -> str:
    """Return an address without what may be a user and a password, and without its query."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else "no address"


def open_github(root: Path, *, note: Callable[[str], None]) -> tuple[GithubApi, str]:
    """Return the API of this repository, and its address for people.

    From what a workflow sets; elsewhere from git's remote, with GITHUB_TOKEN or GH_TOKEN. An
    enterprise's own server is given GH_ENTERPRISE_TOKEN alone, as `gh` does: a remote could name
    any host. Outside of a workflow the API is that of the remote's host, by https: a token goes
    nowhere else, whatever GITHUB_API_URL and GITHUB_SERVER_URL say.

    Raises:
        ConfigError: there is no token, the repository is unknown, or GITHUB_API_URL is not its
            server's.

    """
    env, remote = os.environ, find_remote(root)
    name = env.get("GITHUB_REPOSITORY") or (remote.name if remote else "")
    if not name:
        raise ConfigError(
            "the GitHub repository is unknown: no remote on GitHub, no GITHUB_REPOSITORY",
            next_step="git remote add origin URL, or export GITHUB_REPOSITORY=OWNER/NAME",
        )
    job = env.get("GITHUB_ACTIONS") == "true"
    server = urlsplit(env.get("GITHUB_SERVER_URL", "")).hostname if job else None
    repository = GithubRepository(server or (remote.host if remote else "github.com"), name)
    known = repository.hosted or server is not None
    names = ("GITHUB_TOKEN", "GH_TOKEN") if known else ("GH_ENTERPRISE_TOKEN",)
    token = next((env[variable] for variable in names if env.get(variable)), None)
    if not token:
        raise ConfigError(
            f"there is no token to ask GitHub about {name} with",
            next_step=f"export {names[-1]}=$(gh auth token --hostname {repository.host}), or a "
            "token with actions: read, administration: read, environments: read, secrets: read and "
            "variables: read",
        )
    address = env.get("GITHUB_API_URL") or repository.api
    if not job:
        require_own_api(address, repository)
    return GithubApi(address, name, Secret(token), note), repository.site
