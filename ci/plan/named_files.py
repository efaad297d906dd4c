"""What an environment of `deploy.yml` names that may be a file: words to be looked up. Pure."""

import shlex
from collections.abc import Iterable
from pathlib import PurePath

from ..config import Settings
from ..config.sections import (
    CommandRestart,
    ComposeRestart,
    RestartConfig,
    SshApproval,
    SupervisorRestart,
)

# What these are given is data that they print, such as a pid file that changes by itself.
READERS = frozenset({"cat", "head", "tail", "stat", "readlink", "ls", "sha256sum", "md5sum"})


def named_words(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return (key, word) of everything that may name a file whose content decides what happens."""
    environment, shared = settings.environment, settings.shared
    words = list(_of_restart(environment.restart))
    if isinstance(environment.approval, SshApproval):
        words.append(("approval.signers", environment.approval.signers))
        words.append(("approval.revoked", environment.approval.revoked))
    words.append(("rehearsal.mask", shared.rehearsal.mask))
    return tuple((key, word) for key, word in words if word)


def _of_restart(restart: RestartConfig | None) -> Iterable[tuple[str, str]]:
    match restart:
        case CommandRestart():
            yield from (("restart.run", word) for word in candidates(restart.run))
            identity = restart.identity
            if identity and PurePath(identity[0]).name in READERS:
                identity = identity[:1]
            yield from (("restart.identity", word) for word in candidates(identity))
        case ComposeRestart():
            yield ("restart.file", restart.file)
        case SupervisorRestart():
            yield ("restart.config", restart.config)
        case _:  # units, containers and deployments are no files of the project
            pass


def candidates(argv: Iterable[str]) -> tuple[str, ...]:
    """Return every word of a command that may be a path.

    Beside each argument: what stands behind `=`, `@` or a letter's option (`-fdeploy.yml`), and
    the words of one that is a command itself, as of `sh -c`.
    """
    found: dict[str, None] = {}
    for argument in argv:
        for word in (argument, *_words(argument)):
            found |= dict.fromkeys(part for part in _parts(word) if part)
    return tuple(found)


def _words(argument: str) -> Iterable[str]:
    if not any(character.isspace() for character in argument):
        return ()
    try:
        return shlex.split(argument)
    except ValueError:  # an open quote: no shell would take it either
        return argument.split()


def _parts(word: str) -> Iterable[str]:
    bare = word.strip(";&|()<>\"'`")
    yield from (word, bare, bare.lstrip("@"))
    if "=" in bare:
        value = bare.partition("=")[2]
        yield from (value, value.lstrip("@"))
    if bare.startswith("-") and not bare.startswith("--"):
        yield bare[2:]
