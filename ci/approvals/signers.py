"""Who may sign: an allowed-signers file as people, not as lines. Pure.

Format: ssh-keygen(1), ALLOWED SIGNERS. What lets one line stand for several people, or several
names for one key, is refused or merged here: an approver is a person, and counts once.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import ConfigError, Place

LOGIN = "github:"  # before a principal that is an account on GitHub
NOREPLY = re.compile(r"(?:\d+\+)?(?P<login>[a-z0-9-]+(?:\[bot\])?)@users\.noreply\.github\.com")
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_OPTION = re.compile(r'(?:[^,"]|"[^"]*")+')
_KEY_TYPE = re.compile(r"(?:sk-)?(?:ssh|ecdsa|webauthn)-[a-z0-9@.-]+")
_EXPECTED = 'write it as: EMAIL,github:LOGIN [valid-before="20301231"] ssh-ed25519 AAAA…'


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file."""

    number: int
    principals: tuple[str, ...]  # as written
    key: bytes  # as it is on the wire


@dataclass(frozen=True, slots=True)
class Person:
    """All lines that share a name or a key: one person, however many keys."""

    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        """The first name of the first line, as written."""
        return self.lines[0].principals[0]

    @property
    def names(self) -> frozenset[str]:
        """Every name, as `known_as` gives it."""
        return known_as(name for line in self.lines for name in line.principals)

    @property
    def has_login(self) -> bool:
        """Whether an account on GitHub is among the names."""
        return any(name.startswith(LOGIN) for name in self.names)


def known_as(names: Iterable[str]) -> frozenset[str]:
    """Return names for comparing: without case; GitHub's noreply addresses name an account too."""
    folded = {name.strip().casefold() for name in names} - {""}
    matches = (NOREPLY.fullmatch(name) for name in folded)
    return frozenset(folded | {f"{LOGIN}{match['login']}" for match in matches if match})


def deployer_names(
    variables: Mapping[str, str], emails: Iterable[str], accounts: Iterable[str]
) -> frozenset[str]:
    """Return the names of who deploys, for comparing with a signer's.

    Args:
        variables: the environment; GitHub names who started the run, and who started it again.
        emails: of git.
        accounts: on this machine; on GitHub it is the machine's, and nobody's.

    """
    mails = (variables.get(f"{name}EMAIL", "") for name in ("GIT_AUTHOR_", "GIT_COMMITTER_", ""))
    actors = [variables.get(f"GITHUB_{name}ACTOR", "") for name in ("", "TRIGGERING_")]
    logins = [f"{LOGIN}{actor}" for actor in actors if actor]
    return known_as([*emails, *mails, *actors, *logins, *([] if logins else accounts)])


def people_of(text: str, file: str) -> dict[bytes, Person]:
    """Return who may sign, by key.

    Args:
        text: of an allowed-signers file.
        file: its name, for errors.

    Raises:
        ConfigError: a line cannot be read, has a wildcard, or lets certificates in.

    """
    groups: list[list[Line]] = []
    for number, written in enumerate(text.split("\n"), start=1):  # as ssh-keygen does
        if not written.strip() or written.lstrip().startswith("#"):
            continue
        line = _line(written, Place(file, number))
        same = [group for group in groups if any(_one_person(line, other) for other in group)]
        groups = [group for group in groups if group not in same]
        groups.append([other for group in same for other in group] + [line])
    people = [Person(tuple(sorted(group, key=lambda line: line.number))) for group in groups]
    return {line.key: person for person in people for line in person.lines}


def _one_person(line: Line, other: Line) -> bool:
    return line.key == other.key or bool(known_as(line.principals) & known_as(other.principals))


def _line(text: str, place: Place) -> Line:
    words = _WORD.findall(text)
    at = next((at for at in (1, 2) if len(words) > at and _KEY_TYPE.fullmatch(words[at])), 0)
    if at == 0 or len(words) <= at + 1:
        raise _wrong(place, "it is no line of an allowed-signers file")
    options = [option.strip().casefold() for option in _OPTION.findall(words[1])] if at == 2 else []
    if "cert-authority" in options or "-cert-" in words[at]:
        raise _wrong(place, "it lets certificates in: whoever holds the authority is any approver")
    names = tuple(name.strip() for name in words[0].strip('"').split(","))
    for name in names:
        if not name or any(character in '*?!"' or character <= " " for character in name):
            raise _wrong(place, f'"{name}" is no name of one person: no wildcards, none empty')
    try:
        key = base64.b64decode(words[at + 1], validate=True)
    except binascii.Error:
        raise _wrong(place, "its key is not base64") from None
    return Line(place.line, names, key)


def _wrong(place: Place, what: str) -> ConfigError:
    return ConfigError(f"the line names no approver: {what}", place=place, next_step=_EXPECTED)
