"""Values that must not be printed, and the one function that takes them out of a text."""

import base64
import json
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

SHORTEST = 4  # shorter values would blank half the log, and give themselves away by position
# What holds a secret by its name, and what only says where one is.
_NAMED = re.compile(
    r"(^|_)(PG)?(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS|DSN)(_|$)|(^|_)KEY$"
    r"|DATABASE_URL$",
    re.IGNORECASE,
)
_POINTER = re.compile(r"(?<!DATABASE)_(FILE|PATH|DIR|URL|NAME|ID)$", re.IGNORECASE)
_GUESSED = 8  # characters: a name is no proof, and shorter values appear in other texts too
_known: set[str] = set()


class Secret:
    """A string whose repr, str and format are `***`; `reveal()` is the one way out.

    Every secret is remembered, so that `redact` finds it in other programs' messages.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """Return the value; call it in the argument list that needs it, never keep the result."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class OptionalSecret(Secret):
    """A secret that may be empty, where a job is not given it."""

    __slots__ = ()


def remember(value: str) -> None:
    """Have `redact` replace this value, and the password in it where it is a URL."""
    forms = {value}
    if "://" in value:
        password = _password(value)
        forms |= {password, unquote(password), quote(unquote(password), safe="")}
    if "\n" in value or "\r" in value:  # GitHub masks line by line, and we tell line by line
        forms |= {line.strip() for line in value.splitlines()}
    # As it is in a header, and in what the Kubernetes and GitHub APIs answer.
    forms |= {
        base64.b64encode(v.encode()).decode().rstrip("=") for v in forms if len(v) >= _GUESSED
    }
    # As they are in JSON, which escapes quotes, backslashes and, asked to, all but ASCII.
    forms |= {json.dumps(v, ensure_ascii=plain)[1:-1] for v in forms for plain in (True, False)}
    _known.update(v for v in forms if len(v) >= SHORTEST and v != "embedded")


def names_secret(name: str) -> bool:
    """Tell whether a variable's name says that it holds a secret."""
    return bool(_NAMED.search(name)) and not _POINTER.search(name)


def remember_environment(variables: Mapping[str, str]) -> None:
    """Remember the variables whose names say that they hold a secret."""
    for name, value in variables.items():
        if not is_named_secret(name):
            continue
        if len(value) >= _GUESSED and not value.startswith("/"):
            remember(value)


def is_named_secret(name: str) -> bool:
    """Tell whether a variable's name says that it holds a secret, and not where one is."""
    return bool(_NAMED.search(name)) and not _POINTER.search(name)


def known() -> frozenset[str]:
    """Return every value that `redact` replaces; the test suite plants and looks for them."""
    return frozenset(_known)


def is_in(text: str) -> bool:
    """Tell whether a text contains a known secret, except those of letters alone."""
    return any(
        len(v) >= _GUESSED and not v.isalpha() and not v.isdigit() and v in text for v in _known
    )


def redact(text: str) -> str:
    """Return the text with every known secret replaced by `***`, the longest first."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # not a URL after all; the whole value is remembered anyway
        return ""
