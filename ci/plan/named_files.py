"""What an environment of `deploy.yml` names that may be a file: words to be looked up. Pure."""

import shlex
from collections.abc import Iterable
from pathlib import PurePath

from ..config import Settings
from ..config.sections import Restart

# What these are given is data that they print, such as a pid file that changes by itself.
READERS = frozenset({"cat", "head", "tail", "stat", "readlink", "ls", "sha256sum", "md5sum"})


def named_words(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return (key, word) of everything that may name a file whose content decides what happens."""
    environment, shared = settings.environment, settings.shared
    words = list(_of_restart(environment.restart)) if environment.restart is not None else []
    if (approval := environment.approval) is not None:
        words += [(f"approval.{key}", getattr(approval, key)) for key in approval.files]
    if environment.signing is not None:
        words.append(("signing.signers", environment.signing.signers))
    words.append(("rehearsal.mask", shared.rehearsal.mask))
    return tuple((key, word) for key, word in words if word)


def _of_restart(restart: Restart) -> Iterable[tuple[str, str]]:
    for key in restart.files:
        yield (f"restart.{key}", getattr(restart, key))
    for key in (*restart.commands, *restart.printing):
        argv: tuple[str, ...] = getattr(restart, key)
        if key in restart.printing and argv and PurePath(argv[0]).name in READERS:
            argv = argv[:1]
        yield from ((f"restart.{key}", word) for word in candidates(argv))


def candidates(argv: Iterable[str]) -> tuple[str, ...]:
    """Return every word of a command that may be a path.

    Beside each argument: what stands behind `=`, `@` or a letter's option (`-fdeploy.yml`), and
    the words of one that is a command itself, as of `sh -c`.
    """
    words: dict[str, None] = {}
    for argument in argv:
        for word in (argument, *_words(argument)):
            words |= dict.fromkeys(part for part in _parts(word) if part)
    return tuple(words)


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
