"""Who deploys, and who wrote the commit: those whose own signature is no second person's."""

import base64
import binascii
import getpass
import os
import pwd
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .. import account, git
from .signers import deployer_names, known_as


def names(root: Path) -> frozenset[str]:
    """Return the names of who runs this, for comparing: accounts, addresses, logins."""
    emails = _lines(root, "config", "--get-all", "user.email")
    return deployer_names(os.environ, emails, _accounts())


def _accounts() -> set[str]:
    """Return this account, by its number and by the variables; a container's may have no name."""
    accounts = set()
    with suppress(KeyError):
        accounts.add(pwd.getpwuid(os.getuid()).pw_name)
    with suppress(KeyError, OSError):
        accounts.add(getpass.getuser())
    return accounts


def keys(files: Iterable[str]) -> frozenset[bytes]:
    """Return the public keys of these names whose private halves lie in this account's ~/.ssh."""
    paths = (account.home() / ".ssh" / f"{name}.pub" for name in files)
    public_keys = set()
    for path in paths:
        if path.is_file() and path.with_suffix("").is_file():
            words = path.read_text(encoding="utf-8", errors="replace").split()
            with suppress(IndexError, binascii.Error):  # no public key after all
                public_keys.add(base64.b64decode(words[1], validate=True))
    return frozenset(public_keys)


def authors(root: Path) -> frozenset[str]:
    """Return who wrote the commit, for comparing; of a merge, who wrote what it brought."""
    form = "--format=%ae%n%an%n%(trailers:key=Co-authored-by,valueonly)"
    names = _lines(root, "log", form, "HEAD^1..HEAD") | _lines(root, "log", "-1", form)
    return known_as(part for name in names for part in re.split(r"[<>]", name))


def _lines(root: Path, *arguments: str) -> set[str]:
    printed = git.read_or_none(root, *arguments) or ""
    return set(printed.split("\n")) - {""}
