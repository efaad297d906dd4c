"""Signatures on a branch of the repository: how they come from an approver to where it deploys.

The branch holds signature files and nothing else; what counts is the signature: the right to
push there is no right to approve.
"""

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .. import git, temporary
from ..errors import ChildFailed, StepFailed
from ..secret import Secret
from .ssh_files import LARGEST, SUFFIX

REMOTE = "origin"
SPEAKS = ("ls-remote", "fetch", "push")  # with the remote; the token is for these
WITHIN = 60.0  # seconds, for each call of git
NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{1,40}\.approval")
MOST = 1000  # signatures of one plan
TRIES = 5  # where others push at the same time


def fetch(root: Path, branch: str, directory: Path, *, digest: str) -> int:
    """Bring a plan's signatures from the remote's branch into `directory`; return how many are new.

    Raises:
        ChildFailed: git did not reach the remote.

    """
    commit = _fetched(root, branch)
    if commit is None:
        return 0
    new = 0
    for name, blob in _listed(root, commit, digest[:12]):
        content = b"".join(git.blob(root, blob))
        file = directory / name
        if _holds(file, content):
            continue
        if os.path.lexists(file):  # another's, or junk: neither may be in the other's way
            file = directory / f"{file.stem}-{blob}{SUFFIX}"
            if os.path.lexists(file):
                continue
        directory.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        new += 1
    return new


def _listed(root: Path, commit: str, prefix: str) -> list[tuple[str, str]]:
    """Return the files at the top of the branch that may be a plan's signatures, and their blobs.

    Whoever may push there may have pushed anything: links, submodules, a file of a gigabyte.
    """
    entries = []
    for entry in git.read(root, "ls-tree", "-z", "--long", commit).split("\0"):
        head, _, name = entry.partition("\t")
        mode, kind, blob, size = (head.split() + [""] * 4)[:4]
        regular = kind == "blob" and mode in ("100644", "100755")
        if regular and NAME.fullmatch(name) and name.startswith(prefix) and int(size) <= LARGEST:
            entries.append((name, blob))
    return entries[:MOST]


def _holds(file: Path, content: bytes) -> bool:
    """Tell whether a regular file has this content."""
    return file.is_file() and not file.is_symlink() and file.read_bytes() == content


def push(root: Path, branch: str, file: Path, *, message: str) -> None:
    """Add a signature to the remote's branch, which is created where there is none.

    The work tree, the index and the branches here stay as they are.

    Raises:
        StepFailed: git made no commit, or the remote did not take it.

    """
    try:
        blob = _git(root, "hash-object", "-w", str(file))
        for left in reversed(range(TRIES)):
            parent = _fetched(root, branch)
            commit = _commit(root, parent, file.name, blob, message)
            try:
                _git(root, "push", "--quiet", REMOTE, f"{commit}:refs/heads/{branch}")
            except ChildFailed:
                if left == 0 or _fetched(root, branch) == parent:  # no other push was in the way
                    raise
            else:
                return
    except ChildFailed as error:
        raise StepFailed(
            f"the signature was not pushed to {branch} of {REMOTE}: {error.stderr or error.what}",
            state=f"the plan is signed, in {file}; it exists nowhere else",
            next_step=f"mend that and push the file to {branch} by hand, or bring it to where "
            "the deployment runs",
        ) from error


def _fetched(root: Path, branch: str) -> str | None:
    """Fetch the branch and return its commit; None where the remote has no such branch.

    Brings objects alone: a ref of ours would be in the way of others' fetches.
    """
    ref = f"refs/heads/{branch}"
    lines = _git(root, "ls-remote", REMOTE, ref).split()
    if not lines:
        return None
    _git(root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", REMOTE, ref)
    return lines[0]


def _commit(root: Path, parent: str | None, name: str, blob: str, message: str) -> str:
    """Return a new commit: the parent's files and one more."""
    with temporary.directory("approve") as place:
        index = {"GIT_INDEX_FILE": str(place / "index")}
        if parent:
            _git(root, "read-tree", parent, env=index)
        _git(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", env=index)
        tree = _git(root, "write-tree", env=index)
    return _git(root, "commit-tree", tree, *(["-p", parent] if parent else []), "-m", message)


def _git(root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    remote = arguments[0] in SPEAKS
    added = {**(_token() if remote else {}), **(env or {})}
    return git.read(root, *arguments, env=added, within=WITHIN, remote=remote)


def _token() -> dict[str, str | Secret]:
    """Return the job's token in git's own variables, in a job: a checkout leaves git without one.

    https://git-scm.com/docs/git-config, GIT_CONFIG_COUNT and http.<url>.extraHeader
    """
    token, server = os.environ.get("GITHUB_TOKEN"), os.environ.get("GITHUB_SERVER_URL")
    if os.environ.get("GITHUB_ACTIONS") != "true" or not (token and server):
        return {}
    encoded = Secret(base64.b64encode(f"x-access-token:{token}".encode()).decode())
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": Secret(f"AUTHORIZATION: basic {encoded.reveal()}"),
    }
